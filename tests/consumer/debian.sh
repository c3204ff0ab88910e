# Goal: the Debian package installs and removes cleanly, is as Debian has its packages, and holds a
# library and a tool that work.
# Method: cpack makes it, dpkg installs it into a scratch root and removes it from there; a program
# is compiled with what lies in that root; lintian, where it is installed, finds no error.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
need cpack dpkg dpkg-deb dpkg-shlibdeps dpkg-architecture readelf gzip cc

cpack --config "$BUILD/CPackConfig.cmake" -G DEB -B "$scratch/package" >"$scratch/log" ||
  fail "$(cat "$scratch/log")"
package=$(find "$scratch/package" -maxdepth 1 -name 'dskvs_*.deb')
[[ -f $package ]] || fail "$(cat "$scratch/log")"
dpkg-deb -f "$package" Package Version Architecture Depends Installed-Size
[[ $(dpkg-deb -f "$package" Depends) == *libc6* ]] || fail "does not say what it depends on"
[[ $(dpkg-deb -f "$package" Maintainer) =~ ^[^\<]+\<[^@]+@[^@]+\.[^@]+\>$ ]] ||
  fail "no maintainer"
dpkg-deb -e "$package" "$scratch/control"
version=$(dpkg-deb -f "$package" Version)
[[ $(cat "$scratch/control/shlibs") == "libdskvs 0 dskvs (>= $version)" ]] ||
  fail "shlibs: $(cat "$scratch/control/shlibs")"

root=$scratch/root
if ((EUID == 0)); then
  mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/info"
  touch "$root/var/lib/dpkg/status"
  # There is no shell in that root for the package's scripts, which call ldconfig.
  dpkg_there() {
    dpkg --root="$root" --force-depends --force-script-chrootless "$@" >"$scratch/log" 2>&1 ||
      fail "$(cat "$scratch/log")"
  }
  dpkg_there --install "$package"
else
  dpkg-deb -x "$package" "$root"
fi
[[ -f $root/usr/include/dskvs/dskvs.h ]] || fail "no header"
library=$(find "$root/usr" -name libdskvs.so.0)
# Where a build for /usr puts it; one for another prefix has no multiarch directory.
if grep -q '^CMAKE_INSTALL_PREFIX:.*=/usr$' "$BUILD/CMakeCache.txt"; then
  libraries=usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
  [[ $library == "$root/$libraries/libdskvs.so.0" ]] || fail "$library is not in $libraries"
fi
cmp "$SOURCE/LICENSE" "$root/usr/share/doc/dskvs/copyright" || fail "no copyright file"
for page in man3/dskvs.3 man1/dskvs.1; do
  [[ $page != *1 || -e $root/usr/bin/dskvs ]] || continue
  gzip -dc "$root/usr/share/man/$page.gz" | cmp - "$SOURCE/docs/man/${page#*/}" || fail "no $page.gz"
  [[ ! -e $root/usr/share/man/$page ]] || fail "$page is there uncompressed"
done
[[ $(find "$root/usr" -perm /022 -not -type l | wc -l) == 0 ]] || fail "others may write there"

header_example >"$scratch/example.c"
cc "$scratch/example.c" -I "$root/usr/include" -L "$(dirname "$library")" -ldskvs \
  "-Wl,-rpath,$(dirname "$library")" -o "$scratch/example"
(cd "$scratch" && expect house ./example)


tool=$root/usr/bin/dskvs
if [[ -e $tool ]]; then
  readelf -d "$tool" | grep -qE 'RPATH|RUNPATH' && fail "the tool has a path of its own"
  (
    export LD_LIBRARY_PATH=${library%/*}
    expect "dskvs $version" "$tool" --version
    expect "" "$tool" put "$scratch/store" artist/air downtempo
    expect downtempo "$tool" get "$scratch/store" artist/air
  )
fi

if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error "$package" >"$scratch/lintian" ||
    fail "$(cat "$scratch/lintian")"
fi

if ((EUID == 0)); then
  dpkg_there --purge dskvs
  left=$(find "$root" -path "$root/var/lib/dpkg" -prune -o -not -type d -print | grep -v /var/ || true)
  [[ -z $left ]] || fail "left behind: $left"
  [[ ! -d $root/usr/include/dskvs ]] || fail "left a directory behind"
fi
