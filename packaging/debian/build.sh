#!/bin/sh
# Builds a Debian package from a wheelhouse, without a network:
#
#   packaging/debian/build.sh WHEELHOUSE OUT
#
# federated-factory-coordinator or federated-factory-agent, as the wheelhouse says (agent or gpu). What
# the role needs of Python is inside, in /usr/lib/federated-factory; only Debian's own Python is
# not: the package is for the Debian release that has the Python which the wheelhouse was made for.
#
# PYTHON  that Python [/usr/bin/python3]
set -eu

root="$(cd "$(dirname "$0")/../.." && pwd)"
[ $# -eq 2 ] || { echo "usage: $0 WHEELHOUSE OUT" >&2; exit 1; }
wheels="$(cd "$1" && pwd)" out="$2"
python="${PYTHON:-/usr/bin/python3}"

role="$(sed -n 's/^role: //p' "$wheels/wheelhouse.txt")"
case "$role" in coordinator) part=coordinator ;; *) part=agent ;; esac
package="federated-factory-$part" command="ff-$part"
version="$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/proto/ff_protocol/__init__.py")"
epoch="${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}"
architecture="$(dpkg --print-architecture)"
series="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
next="${series%%.*}.$((${series#*.} + 1))"

mkdir -p "$out"
out="$(cd "$out" && pwd)"
stage="$(mktemp -d "$out/.stage.XXXXXX")"
trap 'rm -rf "$stage"' EXIT
chmod 0755 "$stage"

sh "$wheels/install.sh" --wheels "$wheels" --python "$python" \
    --destdir "$stage" --prefix "/usr/lib/federated-factory/$part"
put() { install -D -m "$1" "$2" "$stage/$3"; }
mkdir -p "$stage/usr/bin"
ln -s "../lib/federated-factory/$part/bin/$command" "$stage/usr/bin/$command"
for unit in "$root/packaging/systemd/$command"*.service "$root/packaging/systemd/$command"*.timer; do
    [ ! -e "$unit" ] || put 0644 "$unit" "usr/lib/systemd/system/$(basename "$unit")"
done
put 0644 "$root/packaging/debian/$part/default" "etc/default/$command"
documents="usr/share/doc/$package"
put 0644 "$root/packaging/debian/copyright" "$documents/copyright"
for page in installation operations exit-codes user-guide sandbox; do
    put 0644 "$root/docs/$page.md" "$documents/$page.md"
done
for example in "$root"/configs/*; do
    put 0644 "$example" "$documents/examples/$(basename "$example")"
done
[ "$part" != agent ] || put 0644 "$root/packaging/systemd/ff-agent-gpu.conf" "$documents/examples/ff-agent-gpu.conf"
mkdir -p "$stage/usr/share/lintian/overrides"
sed "s/@PACKAGE@/$package/" "$root/packaging/debian/lintian-overrides.in" \
    >"$stage/usr/share/lintian/overrides/$package"
# Wheels mark sources, texts and libraries as programs.
find "$stage/usr/lib" -type f -perm /111 ! -path '*/bin/*' -exec chmod a-x {} +
sed -e "s/@PACKAGE@/$package/" -e "s/@VERSION@/$version/" \
    -e "s/@DATE@/$(LC_ALL=C date -u -R -d "@$epoch")/" "$root/packaging/debian/changelog.in" |
    gzip -9n >"$stage/$documents/changelog.gz"
chmod 0644 "$stage/$documents/changelog.gz"

mkdir "$stage/DEBIAN"
echo "/etc/default/$command" >"$stage/DEBIAN/conffiles"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" \
    -e "s/@PYTHON@/python3 (>= $series), python3 (<< $next)/" \
    -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$stage" | cut -f1)/" \
    "$root/packaging/debian/$part/control.in" >"$stage/DEBIAN/control"
for script in postinst prerm postrm; do
    sed -e "s/@PART@/$part/g" "$root/packaging/debian/$script.in" >"$stage/DEBIAN/$script"
    chmod 0755 "$stage/DEBIAN/$script"
done
(cd "$stage" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
chmod -R u=rwX,go=rX "$stage"
find "$stage" -newermt "@$epoch" -exec touch --no-dereference --date="@$epoch" {} +

archive="$out/${package}_${version}_$architecture.deb"
SOURCE_DATE_EPOCH="$epoch" dpkg-deb --root-owner-group -Zzstd --build "$stage" "$archive" >/dev/null
echo "$archive: $(($(stat -c %s "$archive") / 1048576)) MiB, installed $(du -sm --exclude=DEBIAN "$stage" | cut -f1) MiB"
