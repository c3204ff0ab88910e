# Goal: the installed manual pages render without a warning, are of this version, and dskvs(3) has
# the functions of dskvs.h as they are declared there.
# Method: groff with all its warnings; the prototypes of page and header, without spaces.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
need groff
prefix=$1
header=$prefix/include/dskvs/dskvs.h
version=$(sed -n 's/^#define DSKVS_VERSION_[A-Z]* //p' "$header" | paste -sd.)

pages=("$prefix/share/man/man3/dskvs.3")
[[ ! -e $prefix/bin/dskvs ]] || pages+=("$prefix/share/man/man1/dskvs.1")
for page in "${pages[@]}"; do
  for device in utf8 ascii ps; do
    groff -man -ww "-T$device" "$page" >"$scratch/page" 2>"$scratch/warnings" || fail "$page"
    [[ ! -s $scratch/warnings ]] || fail "$page: $(cat "$scratch/warnings")"
    [[ -s $scratch/page ]] || fail "$page is empty"
  done
  grep -q "^\.TH DSKVS [13] .*\"dskvs $version\"" "$page" || fail "$page is not of $version"
done

# Prototypes, one a line, without spaces.
prototypes() {
  tr -d '\n" ' | grep -o '[a-z0-9_*]*dskvs_[a-z_]*([^;]*);' | sort
}
awk '/^DSKVS_API/ { inside = 1 } inside { print } /;/ { inside = 0 }' "$header" |
  sed 's/^DSKVS_API//' | prototypes >"$scratch/declared"
sed -n 's/^\.BI\{0,1\} //p' "${pages[0]}" | prototypes >"$scratch/described"
[[ -s $scratch/declared ]] || fail "found no prototype"
diff "$scratch/declared" "$scratch/described" || fail "dskvs.h (<) and dskvs(3) (>) differ"
