# Goal: a C program written from dskvs.h alone finds the library by pkg-config in a moved prefix.
# Method: the example in the header's own comment, and that of dskvs.hpp, with what pkg-config says.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
need pkg-config cc c++
prefix=$1
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name dskvs.pc)")
export PKG_CONFIG_PATH

[[ $(pkg-config --modversion dskvs) =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "no version"
read -ra flags <<<"$(pkg-config --cflags --libs dskvs)"
flags+=("-Wl,-rpath,$(dirname "$(find "$prefix" -name libdskvs.so)")" -Wall -Wextra -pedantic -Werror)

header_example >"$scratch/example.c"
[[ $(wc -l <"$scratch/example.c") -ge 15 ]] || fail "no example in the header"
cc -std=c99 "$scratch/example.c" "${flags[@]}" -o "$scratch/example"
cd "$scratch"
expect house ./example
expect house ./example

c++ -std=c++20 "$SOURCE/bindings/cpp/example.cc" "${flags[@]}" -o "$scratch/example_cpp"
expect "$cpp_example_says" ./example_cpp "$scratch/store"
