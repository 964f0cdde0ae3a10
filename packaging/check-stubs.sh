#!/bin/sh
# Fails when proto/ff_protocol/wire is not what proto/relay.proto generates.
set -eu
root="$(cd "$(dirname "$0")/.." && pwd)"
fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT
sh "$root/proto/generate.sh" "$fresh"
for file in "$fresh"/*.py "$fresh"/*.pyi; do
  diff -u "$root/proto/ff_protocol/wire/$(basename "$file")" "$file"
done
