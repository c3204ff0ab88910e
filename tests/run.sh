#!/usr/bin/env bash
# run.sh: installs what the tests need (Debian 12, as root or with sudo), builds, runs everything
# (Catch2 and scripts through ctest, then pytest), and ends with their summaries. May be run again.
# Everything it makes lies in build/ of the clone. The exit status is 0 only when all passed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$here/build/test
log=$here/build/test.log
# shellcheck source=.ci/shell.sh
. "$here/.ci/shell.sh"

cd "$here"
mkdir -p build
: >"$log"

# clang, pkg-config, abigail-tools, file, dpkg-dev and groff-base: what strangers link and read;
# e2fsprogs, mount: the power cut on a file system of its own.
need_packages "${build_packages[@]}" catch2 clang pkg-config abigail-tools file dpkg-dev groff-base \
  e2fsprogs mount

echo "building the Python package"
need_venv "$here/build/venv" pip pytest mypy
install_package "$here/build/venv" "$here"
PATH=$here/build/venv/bin:$PATH

echo "building the library and its tests"
# The prefix is that of a Debian package: with it, libraries go to a multiarch directory.
quietly cmake -S "$here" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DDSKVS_BENCH=ON \
  -DCMAKE_INSTALL_PREFIX=/usr
quietly cmake --build "$build"

status=0
# More at once than there are processors: many wait.
ctest --test-dir "$build" --output-on-failure --timeout 900 -j "$(($(nproc) + 2))" | tee "$build/ctest.txt" ||
  status=1
python -m pytest -q -p no:cacheprovider "$here/tests/python" | tee "$build/pytest.txt" || status=1

echo
echo "ctest:  $(grep 'tests passed' "$build/ctest.txt" || echo 'did not finish')"
echo "pytest: $(tail -n 1 "$build/pytest.txt")"
exit "$status"
