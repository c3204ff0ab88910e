# Goal: an installed prefix holds what it should, and may be moved.
# Method: installs into one place and moves it to $1, where the other tests use it.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
prefix=$1

rm -rf "$prefix"
cmake --install "$BUILD" --prefix "$scratch/prefix" >"$scratch/log" || fail "$(cat "$scratch/log")"
for file in include/dskvs/dskvs.h include/dskvs/dskvs_dl.h include/dskvs/dskvs.hpp \
  share/man/man3/dskvs.3 share/doc/dskvs/LICENSE; do
  [[ -f $scratch/prefix/$file ]] || fail "$file is missing"
done
for name in libdskvs.so libdskvs.so.0 dskvs.pc dskvs-config.cmake dskvs-config-version.cmake; do
  [[ -n $(find "$scratch/prefix" -name "$name") ]] || fail "$name is missing"
done
if grep -rlI "$scratch/prefix\|$BUILD\|$SOURCE" "$scratch/prefix"; then
  fail "these name a place on this machine"
fi
mv "$scratch/prefix" "$prefix"
if [[ -e $prefix/bin/dskvs ]]; then
  [[ -f $prefix/share/man/man1/dskvs.1 ]] || fail "the tool has no manual page"
  expect "dskvs $(sed -n 's/^#define DSKVS_VERSION_[A-Z]* //p' "$SOURCE/capi/include/dskvs/dskvs.h" |
    paste -sd.)" "$prefix/bin/dskvs" --version
fi
