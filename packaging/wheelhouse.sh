#!/bin/sh
# Everything that a role needs, in one folder, for machines without a network:
#
#   packaging/wheelhouse.sh coordinator|agent|gpu DIR
#
# Run it where there is a network, on the same kind of machine (Python version, processor). There:
# `sh DIR/install.sh`. The versions are those of packaging/constraints.txt.
#
# PYTHON       the Python to make it for [python3]; it must have pip
# TORCH_INDEX  package index to take torch from (see pytorch.org): for `agent` one with CPU builds, as the
#              build of the usual index brings several GB of CUDA, which this script refuses for `agent`
set -eu

root="$(cd "$(dirname "$0")/.." && pwd)"
python="${PYTHON:-python3}"

fail() {
    echo "wheelhouse.sh: $1" >&2
    [ $# -lt 2 ] || echo "  $2" >&2
    exit 1
}

[ $# -eq 2 ] || fail "usage: $0 coordinator|agent|gpu DIR"
role="$1" folder="$2"
case "$role" in
    coordinator) extra='' ;;
    agent | gpu) extra="[$role]" ;;
    *) fail "no role $role" "it is coordinator, agent (CPU) or gpu (agent with CUDA)" ;;
esac
"$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip" "set PYTHON"
mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"
[ -z "$(ls -A "$folder")" ] || fail "$folder is not empty"

pip() { "$python" -m pip "$@"; }
constraints="$root/packaging/constraints.txt"
fetch() {
    pip download --quiet --disable-pip-version-check --only-binary :all: --constraint "$constraints" \
        --dest "$folder" --find-links "$folder" "$@"
}

pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$folder" "$root"
own="$(echo "$folder"/federated_factory-*.whl)"
if [ "$role" != coordinator ] && [ -n "${TORCH_INDEX:-}" ]; then
    fetch --no-deps --index-url "$TORCH_INDEX" torch
fi
fetch "$own$extra"
fetch --no-deps pip

cuda="$(find "$folder" -name 'nvidia_*' -o -name 'cuda_*' -o -name 'triton-*')"
case "$role" in
    gpu) [ -n "$cuda" ] || fail "torch came without CUDA" "set TORCH_INDEX to an index with CUDA builds" ;;
    *) [ -z "$cuda" ] || fail "torch came with CUDA" "set TORCH_INDEX, or make it for gpu" ;;
esac

cd "$folder"
known="$root/packaging/wheels.sha256" new=''
for wheel in *.whl; do
    sum="$(sha256sum "$wheel" | cut -d' ' -f1)"
    tested="$(awk -v name="$wheel" '$2 == name { print $1 }' "$known")"
    case "$tested" in
        "$sum") ;;
        '') new="$new $wheel" ;;
        *) fail "$wheel is not the file of that name that this release was tested with" "$tested expected" ;;
    esac
done
[ -z "$new" ] || echo "taken on the index's word, not among the files tested:$new"
cp "$root/packaging/install.sh" install.sh
for wheel in *.whl; do
    case "$wheel" in pip-*) continue ;; esac
    name="${wheel%%-*}" rest="${wheel#*-}"
    echo "$name==${rest%%-*} --hash=sha256:$(sha256sum "$wheel" | cut -d' ' -f1)"
done >requirements.txt
"$python" - "$role" ./*.whl >wheelhouse.txt <<'EOF'
import platform, sys, zipfile

role, *wheels = sys.argv[1:]
unpacked = 0
for name in wheels:
    for entry in zipfile.ZipFile(name).infolist():
        # Byte code takes about as much as its source.
        unpacked += entry.file_size * (2 if entry.filename.endswith(".py") else 1)
print(f"role: {role}")
print("python: %d.%d" % sys.version_info[:2])
print(f"machine: {platform.machine()}")
print(f"unpacked-kib: {unpacked // 1024}")
EOF
sha256sum -- *.whl install.sh requirements.txt wheelhouse.txt >SHA256SUMS
echo "$folder: $(wc -l <SHA256SUMS) files, $(du -sm . | cut -f1) MiB; install with sh $folder/install.sh"
