#!/bin/sh
# Installs a role from a wheelhouse (packaging/wheelhouse.sh), without a network and without pip on
# this machine: a virtual environment that has no pip, no compiled-in path but PREFIX, no tests.
#
#   sh install.sh [--prefix PREFIX] [--python PYTHON] [--destdir DIR] [--wheels DIR]
#
# PREFIX is where it will run; DIR/PREFIX is where it is put (container files, Debian package).
# What was installed at PREFIX before stays until the new one has answered `--version`.
set -eu

here="$(cd "$(dirname "$0")" && pwd)"
wheels="$here" destdir='' prefix='' python="${PYTHON:-python3}"

fail() {
    echo "install.sh: $1" >&2
    [ $# -lt 2 ] || echo "  $2" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value"
    case "$1" in
        --prefix) prefix="$2" ;;
        --python) python="$2" ;;
        --destdir) destdir="$2" ;;
        --wheels) wheels="$(cd "$2" && pwd)" ;;
        *) fail "unknown option $1" ;;
    esac
    shift 2
done

[ -f "$wheels/wheelhouse.txt" ] || fail "$wheels is not a wheelhouse" "make one: packaging/wheelhouse.sh"
value() { sed -n "s/^$1: //p" "$wheels/wheelhouse.txt"; }
role="$(value role)"
case "$role" in coordinator) command=ff-coordinator place=coordinator ;; *) command=ff-agent place=agent ;; esac
prefix="${prefix:-/opt/federated-factory/$place}"
case "$prefix" in /*) ;; *) fail "--prefix $prefix is not an absolute path" ;; esac

command -v "$python" >/dev/null || fail "no $python here" "install Python $(value python), or give --python"
found="$("$python" -c 'import platform, sys; print("%d.%d %s" % (*sys.version_info[:2], platform.machine()))')"
[ "$found" = "$(value python) $(value machine)" ] ||
    fail "these wheels are for Python $(value python) on $(value machine), here is $found" \
        "give --python, or make a wheelhouse with this Python"

echo "checking $(wc -l <"$wheels/SHA256SUMS") files"
(cd "$wheels" && sha256sum --check --quiet --strict SHA256SUMS) ||
    fail "the wheelhouse is damaged or was changed: nothing was installed" "copy it again"

target="$destdir$prefix"
new="$target.new" old="$target.old"
mkdir -p "$(dirname "$target")"
need="$(value unpacked-kib)"
free="$(df -Pk "$(dirname "$target")" | awk 'NR == 2 { print $4 }')"
[ "$free" -gt "$need" ] ||
    fail "$(dirname "$target") has $((free / 1024)) MiB free, $((need / 1024)) are needed: nothing was installed" \
        "free space, or give another --prefix"

rm -rf "$new"
trap 'rm -rf "$new"' EXIT
"$python" -m venv --without-pip "$new"
# Beside what is installed, so that a full or noexec /tmp does not matter.
mkdir "$new/tmp"
export TMPDIR="$new/tmp" PYTHONDONTWRITEBYTECODE=1
echo "installing $role into $prefix"
"$new/bin/python" "$(echo "$wheels"/pip-*.whl)/pip" \
    install --isolated --quiet --disable-pip-version-check --no-cache-dir --no-index --find-links "$wheels" \
    --require-hashes --no-deps --no-compile --requirement "$wheels/requirements.txt"

packages="$(echo "$new"/lib/python*/site-packages)"
# Not needed to run: tests, C and C++ headers, libraries to link with, test programs.
find "$packages" -depth -type d \( -name tests -o -path '*/onnx/backend/test/data' \
    -o -path '*/torch/include' -o -path '*/torch/share/cmake' -o -path '*/torch/test' \) -exec rm -rf {} +
find "$packages" -type f \( -name '*.a' -o -path '*/torch/bin/*' ! -name torch_shm_manager \) -delete
find "$new/bin" -type f ! -name "$command" -delete
find "$new/bin" -type l ! -name 'python*' -delete
sed -i "1s|^#!.*|#!$prefix/bin/python|" "$new/bin/$command"
sed -i '/^command = /d' "$new/pyvenv.cfg"
rm -rf "$new/tmp" "$new/include"

# Byte code that is trusted as it is, so that a read-only installation starts as fast and the same
# wheels give the same bytes. (Some packages ship templates that do not compile.)
unset PYTHONDONTWRITEBYTECODE
"$new/bin/python" -I -m compileall -qq -j 0 --invalidation-mode unchecked-hash \
    -s "$new" -p "$prefix" "$packages" || true

said="$("$new/bin/python" -I "$new/bin/$command" --version)" ||
    fail "what was installed does not start: the version before it was kept"
rm -rf "$old"
[ ! -e "$target" ] || mv "$target" "$old"
mv "$new" "$target"
rm -rf "$old"
trap - EXIT
echo "installed $said: $prefix/bin/$command, $(du -sm "$target" | cut -f1) MiB"
