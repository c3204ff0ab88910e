# Goal: who configures without a word gets an optimized, hardened build; who asks for more hardening
# keeps it; what is missing is named.
# Method: configured only, and the compiler's command lines and the messages read.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
need cmake

# configure NAME ARGUMENT...: into $scratch/NAME.
configure() {
  local name=$1
  shift
  cmake -S "$SOURCE" -B "$scratch/$name" -DDSKVS_TESTS=OFF "$@" >"$scratch/log" 2>&1
}

configure plain || fail "$(cat "$scratch/log")"
commands=$(grep '"command".*core/store\.cc' "$scratch/plain/compile_commands.json")
for flag in -O2 -g -fstack-protector-strong; do
  grep -q -- " $flag " <<<"$commands" || fail "no $flag: $commands"
done
if ! c++ -O2 -dM -E -x c++ /dev/null | grep -q _FORTIFY_SOURCE; then
  grep -q -- ' -D_FORTIFY_SOURCE=2 ' <<<"$commands" || fail "not fortified: $commands"
fi

# The same directory again: what was found out before must not stick.
configure plain -DCMAKE_CXX_FLAGS=-D_FORTIFY_SOURCE=3 || fail "$(cat "$scratch/log")"
commands=$(grep '"command".*core/store\.cc' "$scratch/plain/compile_commands.json")
fortified=$(grep -o -- ' -[DU]_FORTIFY_SOURCE[^ ]*' <<<"$commands" | paste -sd' ')
[[ $fortified == ' -D_FORTIFY_SOURCE=3' ]] || fail "_FORTIFY_SOURCE=3 became $fortified"

configure bare -DCMAKE_FIND_ROOT_PATH="$scratch" -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY &&
  fail "configured without xxHash"
grep -q 'xxhash\.h is missing.*libxxhash-dev' "$scratch/log" || fail "said: $(cat "$scratch/log")"
