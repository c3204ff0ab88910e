# shellcheck shell=bash
# What the scripts of this room share: SOURCE and BUILD come from ctest; `scratch` is a directory of
# the script's own, which goes with it.
set -euo pipefail

scratch=$(mktemp -d "${TMPDIR:-/tmp}/dskvs-test-XXXXXX")
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

skip() {
  echo "skipped: $*"
  exit 77
}

need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || skip "no $tool here"
  done
}

# expect WANT COMMAND...: the command succeeds and says exactly this.
expect() {
  local want=$1 got
  shift
  got=$("$@") || fail "$* failed, saying: $got"
  [[ $got == "$want" ]] || fail "$* said: $got; wanted: $want"
}

# The example in the comment that opens dskvs.h.
header_example() {
  sed -n '/^ \* \{5\}#include <dskvs/,/^ \* \{5\}}$/ s/^ \* \{0,5\}//p' \
    "$SOURCE/capi/include/dskvs/dskvs.h"
}

# What the examples of bindings/c and bindings/cpp say on a new store.
c_example_says=$'daft_punk: house\nvisits: 2'
cpp_example_says=$'daft_punk: house\nhouse -> disco\nvisits: 2'
