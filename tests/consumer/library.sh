# Goal: the library exports dskvs.h and nothing else, and needs nothing but libc and the C++ runtime;
# library and tool are hardened, and the number of the ABI is the same wherever it is written.
# Method: symbols, dependencies and flags, as nm and readelf see them, against the header.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
need nm readelf strip
library=$(find "$1" -name libdskvs.so.0)
tool=$1/bin/dskvs

abi=$(sed -n 's/^set(dskvs_abi \([0-9]*\))$/\1/p' "$SOURCE/capi/CMakeLists.txt")
[[ $library == */libdskvs.so.$abi ]] || fail "capi/CMakeLists.txt has ABI $abi, and not $library"
for place in "capi/dskvs.map:^DSKVS_$abi {" "capi/dskvs.cc:dskvs_abi_version.* \"$abi\";" \
  "bindings/c/include/dskvs/dskvs_dl.h:^#define DSKVS_DL_ABI_VERSION \"$abi\"$"; do
  grep -q "${place#*:}" "$SOURCE/${place%%:*}" || fail "${place%%:*} has another ABI than $abi"
done

grep -o 'dskvs_[a-z_]*(' <(grep -A1 '^DSKVS_API' "$SOURCE/capi/include/dskvs/dskvs.h") |
  tr -d '(' | sort -u >"$scratch/declared"
sed -n 's/^ *F([^,]*, \(dskvs_[a-z_]*\),.*/\1/p' "$SOURCE/bindings/c/include/dskvs/dskvs_dl.h" |
  sort >"$scratch/loaded"
nm -D --defined-only --without-symbol-versions "$library" | awk '$2 != "A" { print $3 }' | sort \
  >"$scratch/exported"
diff "$scratch/declared" "$scratch/exported" || fail "declared (<) and exported (>) differ"
diff "$scratch/declared" "$scratch/loaded" || fail "dskvs.h (<) and dskvs_dl.h (>) differ"
unversioned=$(nm -D --defined-only "$library" | awk '$2 != "A"' | grep -v '@@DSKVS_0$' || true)
[[ -z $unversioned ]] || fail "without the version node DSKVS_0: $unversioned"

dynamic=$(readelf -dW "$library")
grep -q 'SONAME.*\[libdskvs.so.0\]' <<<"$dynamic" || fail "not libdskvs.so.0"
grep -q 'FLAGS_1.*\bNODELETE\b' <<<"$dynamic" || fail "no NODELETE"
grep -qE 'RPATH|RUNPATH' <<<"$dynamic" && fail "has a path of its own"
strange=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic" |
  grep -vE '^(libc|libstdc\+\+|libgcc_s|libm|libpthread|ld-linux-.*)\.so\.[0-9]+$' || true)
[[ -z $strange ]] || fail "needs $strange"

build_type=$(sed -n 's/^CMAKE_BUILD_TYPE:[A-Z]*=//p' "$BUILD/CMakeCache.txt")
# The system keeps little room in each thread for libraries that are loaded late.
tls=$(readelf -lW "$library" | awk '$1 == "TLS" { print $6 }')
((tls <= 640)) || fail "$((tls)) bytes of every thread"

# hardened FILE
hardened() {
  local segments imported
  readelf -dW "$1" | grep -q 'FLAGS_1.*\bNOW\b' || fail "$1: no NOW"
  segments=$(readelf -lW "$1")
  grep -q GNU_RELRO <<<"$segments" || fail "$1: no RELRO"
  grep GNU_STACK <<<"$segments" | grep -q RWE && fail "$1: its stack can be executed"
  readelf -h "$1" | grep -q 'Type: *DYN' || fail "$1: always at the same address"
  if [[ $build_type == Rel* ]]; then
    imported=$(nm -D --undefined-only "$1")
    grep -q __stack_chk_fail <<<"$imported" || fail "$1: no stack protector in a $build_type build"
    grep -qE '__(memcpy|snprintf|vsnprintf|read|pread|memset|memmove)[a-z0-9]*_chk' <<<"$imported" ||
      fail "$1: not fortified in a $build_type build"
  fi
}
hardened "$library"
[[ ! -e $tool ]] || hardened "$tool"

strip -o "$scratch/stripped" "$library"
echo "$(wc -l <"$scratch/exported") symbols, $(stat -c %s "$scratch/stripped") bytes stripped:"
paste -sd' ' "$scratch/exported"
