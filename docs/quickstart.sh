#!/usr/bin/env bash
# quickstart.sh [DIR]: dskvs from nothing to a running store, on Debian 12, as root or with sudo.
#
# Installs what it needs, builds a release, loads the tree DIR (default: this machine's Python
# standard library) into a store, reads every value back, lets a second process overwrite it all and
# kills that in mid-write, checks what comes back, and measures. DIR is only read. Everything it
# makes lies in build/ of the clone; the system's packages aside. May be run again.
#
# QUICKSTART_SEED=N repeats the moments of the kills. The last line says whether all held; the exit
# status is 0 only then.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if (($# > 1)) || [[ ${1:-} == -* ]]; then
  echo "usage: docs/quickstart.sh [DIR]" >&2
  exit 2
fi
if [[ -n ${1:-} && ! -d $1 ]]; then
  echo "docs/quickstart.sh: no directory: $1" >&2
  exit 2
fi
tree=${1:+$(realpath -- "$1")}
work=$here/build/quickstart
log=$work/log
# shellcheck source=.ci/shell.sh
. "$here/.ci/shell.sh"

step="starting"
verdict() {
  local status=$?
  if ((status == 0)); then
    echo "quickstart: all held: every value came back, once loaded and after every kill"
  else
    echo "quickstart: FAILED while $step"
  fi
}
trap verdict EXIT

begin() {
  step=$1
  printf '\n== %s\n' "$step"
}

mkdir -p "$work"
: >"$log"
cd "$work"

begin "installing what it needs"
need_packages "${build_packages[@]}"

begin "building and installing dskvs into a virtual environment"
SECONDS=0
need_venv "$work/venv"
install_package "$work/venv" "$here"
PATH=$work/venv/bin:$PATH
echo "$(dskvs --version), built in $SECONDS s; the tool is $work/venv/bin/dskvs"

tree=${tree:-$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')}
step="loading, killing, checking and measuring"
python "$here/docs/quickstart.py" "$tree" "$work/store"
echo
