# Goal: the Debian package installs and removes cleanly, and holds a library that works.
# Method: cpack makes it, dpkg installs it into a scratch root and removes it from there; a program
# is compiled with what lies in that root.
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
need cpack dpkg dpkg-deb dpkg-shlibdeps cc

cpack --config "$BUILD/CPackConfig.cmake" -G DEB -B "$scratch/package" >"$scratch/log" ||
  fail "$(cat "$scratch/log")"
package=$(find "$scratch/package" -maxdepth 1 -name 'dskvs_*.deb')
[[ -f $package ]] || fail "$(cat "$scratch/log")"
dpkg-deb -f "$package" Package Version Architecture Depends Installed-Size
[[ $(dpkg-deb -f "$package" Depends) == *libc6* ]] || fail "does not say what it depends on"

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
[[ $(find "$root/usr" -perm /022 -not -type l | wc -l) == 0 ]] || fail "others may write there"

header_example >"$scratch/example.c"
cc "$scratch/example.c" -I "$root/usr/include" -L "$(dirname "$library")" -ldskvs \
  "-Wl,-rpath,$(dirname "$library")" -o "$scratch/example"
(cd "$scratch" && expect house ./example)

if ((EUID == 0)); then
  dpkg_there --purge dskvs
  left=$(find "$root" -path "$root/var/lib/dpkg" -prune -o -not -type d -print | grep -v /var/ || true)
  [[ -z $left ]] || fail "left behind: $left"
  [[ ! -d $root/usr/include/dskvs ]] || fail "left a directory behind"
fi
