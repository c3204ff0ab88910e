# Goal: each installed header compiles alone, without a warning, in every language it claims; and
# dskvs.h says of each function what it returns and since when it is there.
# Method: a file that includes it twice and nothing else, under gcc and clang; the comment right above
# each declaration.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"

flags=(-Wall -Wextra -Wconversion -Wshadow -pedantic -Werror -O2 -fsyntax-only
  -I "$SOURCE/capi/include" -I "$SOURCE/bindings/c/include" -I "$SOURCE/bindings/cpp/include")

compiled=0
# compiles HEADER LANGUAGE STANDARD COMPILER...
compiles() {
  local header=$1 language=$2 standard=$3 compiler
  shift 3
  printf '#include <dskvs/%s>\n#include <dskvs/%s>\nint dskvs_unused;\n' "$header" "$header" \
    >"$scratch/unit"
  for compiler in "$@"; do
    command -v "$compiler" >/dev/null || continue
    "$compiler" "-std=$standard" "${flags[@]}" -x "$language" "$scratch/unit" ||
      fail "$header as $standard under $compiler"
    compiled=$((compiled + 1))
  done
}

for standard in c99 c11 c17 c2x; do
  compiles dskvs.h c "$standard" gcc clang
  compiles dskvs_dl.h c "$standard" gcc clang
done
for standard in c++11 c++14 c++17 c++20; do
  compiles dskvs.h c++ "$standard" g++ clang++
  compiles dskvs_dl.h c++ "$standard" g++ clang++
done
for standard in c++17 c++20 c++2b; do
  compiles dskvs.hpp c++ "$standard" g++ clang++
done
echo "$compiled compilations"
((compiled >= 22)) || fail "no compiler was found"

undocumented=$(awk '
  /^\/\*/ { comment = "" }
  { comment = comment " " $0 }
  /^$/ { comment = "" }
  /^DSKVS_API/ {
    functions++
    if (comment !~ /Since [0-9]+\.[0-9]+\./) print "no Since: " $0
    if (/ int32_t / && comment !~ /Returns/) print "no statuses: " $0
  }
  END { if (functions < 31) print functions " functions" }' "$SOURCE/capi/include/dskvs/dskvs.h")
[[ -z $undocumented ]] || fail "$undocumented"
