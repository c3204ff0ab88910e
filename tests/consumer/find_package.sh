# Goal: find_package(dskvs) gives dskvs::dskvs to C and C++ projects, from a moved prefix.
# Method: the project in find_package/ is configured, built and run outside the source tree.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
prefix=$1

header_example >"$scratch/example.c"
cmake -S "$SOURCE/tests/consumer/find_package" -B "$scratch/build" \
  -DCMAKE_PREFIX_PATH="$prefix" -DEXAMPLE_C="$scratch/example.c" \
  -DEXAMPLE_CPP="$SOURCE/bindings/cpp/example.cc" >"$scratch/log" || fail "$(cat "$scratch/log")"
cmake --build "$scratch/build" >"$scratch/log" || fail "$(cat "$scratch/log")"
cd "$scratch"
expect house build/example_c
expect "$cpp_example_says" build/example_cpp "$scratch/store"
