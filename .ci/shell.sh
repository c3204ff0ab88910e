# shellcheck shell=bash
# shellcheck disable=SC2154 # log: set by those who source this file
# What the scripts share. They set `log`, the file that keeps the noise, before they call these.

# What building the library, the command line tool and the Python package takes.
# shellcheck disable=SC2034 # used by those who source this file
build_packages=(g++ cmake ninja-build libfmt-dev libxxhash-dev python3-dev python3-venv)

# Runs a command with its output kept in the log, and shown only when it fails.
quietly() {
  local start status=0
  echo "\$ $*" >>"$log"
  start=$(wc -c <"$log")
  "$@" >>"$log" 2>&1 </dev/null || status=$?
  if ((status != 0)); then
    tail -c +$((start + 1)) "$log" | tail -n 60 >&2
    echo "failed with status $status: $*" >&2
    echo "everything it said is in $log" >&2
  fi
  return "$status"
}

# Installs those of the given Debian packages that are missing.
need_packages() {
  local missing=() as_root=() package
  if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian system; taking these as installed: $*" >&2
    return 0
  fi
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  ((${#missing[@]} > 0)) || return 0
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "these packages are missing, and installing them takes root or sudo: ${missing[*]}" >&2
      return 1
    fi
    sudo -v || return 1 # asks for the password, if it must, while the terminal is still ours
    as_root=(sudo)
  fi
  echo "installing ${missing[*]}"
  quietly "${as_root[@]}" apt-get update -q || return 1
  quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qy --no-install-recommends "${missing[@]}"
}

# Makes the virtual environment $1, or keeps it when it works, and installs the rest into it.
need_venv() {
  local venv=$1
  shift
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    quietly python3 -m venv --clear "$venv" || return 1
  (($# == 0)) || quietly "$venv/bin/python" -m pip install --disable-pip-version-check "$@"
}

# Builds the package of the clone $2, compiling what is new only, and installs it into the virtual
# environment $1.
install_package() {
  quietly "$1/bin/python" -m pip install --disable-pip-version-check --force-reinstall --no-deps \
    --config-settings=build-dir="$2/build/wheel" "$2"
}
