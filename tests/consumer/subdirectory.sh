# Goal: dskvs builds as a part of another project, whose own settings win, without tests, tools or
# installation rules of its own; and gives it the same headers as an installed one does.
# Method: the project in subdirectory/, which has other flags, is built and run.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"

header_example >"$scratch/example.c"
cmake -S "$SOURCE/tests/consumer/subdirectory" -B "$scratch/build" \
  -DCMAKE_UNITY_BUILD=ON -DDSKVS_SOURCE="$SOURCE" -DEXAMPLE_C="$scratch/example.c" \
  -DEXAMPLE_CPP="$SOURCE/bindings/cpp/example.cc" -DEXAMPLE_DL="$SOURCE/bindings/c/example.c" \
  >"$scratch/log" || fail "$(cat "$scratch/log")"
cmake --build "$scratch/build" >"$scratch/log" || fail "$(tail -50 "$scratch/log")"
cd "$scratch"
expect house build/example_c
expect "$cpp_example_says" build/example_cpp "$scratch/store"
library=$(find "$PWD/build" -name libdskvs.so.0)
expect "$c_example_says" build/example_dl "$library" "$scratch/store_dl"
[[ -z $(find build -name '*_test' -type f) ]] || fail "it has built its tests"
[[ ! -e build/CPackConfig.cmake ]] || fail "it makes packages"
cmake --install build --prefix "$scratch/prefix" >"$scratch/log" || fail "$(cat "$scratch/log")"
[[ ! -d prefix/include ]] || fail "it installs itself"
