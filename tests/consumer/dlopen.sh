# Goal: a program that loads dskvs at run time needs nothing to start but libc.
# Method: bindings/c/example.c is compiled with the installed headers alone; its dependencies are
# read, and it is run with the library, without it, and with a library that is another.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
need cc readelf
prefix=$1
library=$(find "$prefix" -name libdskvs.so.0)

cc -std=c99 -Wall -Wextra -pedantic -Werror -I "$prefix/include" "$SOURCE/bindings/c/example.c" \
  -o "$scratch/example"
needed=$(readelf -d "$scratch/example" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[[ $needed == libc.so.6 ]] || fail "needs $needed"

expect "$c_example_says" "$scratch/example" "$library" "$scratch/store"
cd "$scratch"
LD_LIBRARY_PATH=$(dirname "$library") expect "$c_example_says" "$scratch/example"

"$scratch/example" "$scratch/missing.so" "$scratch/store" 2>"$scratch/said" && fail "no library"
grep -q missing.so "$scratch/said" || fail "said: $(cat "$scratch/said")"
echo 'int dskvs_put(void) { return 0; }' | cc -shared -fPIC -xc - -o "$scratch/other.so"
"$scratch/example" "$scratch/other.so" "$scratch/store" 2>"$scratch/said" && fail "another library"
grep -q dskvs_ "$scratch/said" || fail "said: $(cat "$scratch/said")"
