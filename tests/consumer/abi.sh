# Goal: the binary interface is the last one that was accepted: capi/abi/libdskvs.abi.
# Method: the same dump is made of this library, and abidiff compares the two. An accepted change is a
# commit that renews it: `BUILD=... SOURCE=... tests/consumer/abi.sh PREFIX --accept`.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
need abidw abidiff readelf
library=$(find "$1" -name libdskvs.so.0)
dump=$SOURCE/capi/abi/libdskvs.abi
readelf -SW "$library" | grep -q debug_info || skip "a build without debug information"

abidw --exported-interfaces-only --headers-dir "$1/include/dskvs" --drop-private-types \
  --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed "$library" |
  sed "s|path='[^']*/capi/|path='capi/|" >"$scratch/libdskvs.abi"
if [[ ${2-} == --accept ]]; then
  mkdir -p "$(dirname "$dump")"
  cp "$scratch/libdskvs.abi" "$dump"
fi
abidiff --no-architecture "$dump" "$scratch/libdskvs.abi" ||
  fail "the ABI has changed: see docs/abi.md"
