#!/bin/sh
# Regenerates the stubs in ff_protocol/wire from relay.proto. `make lint` fails when they differ.
set -eu
cd "$(dirname "$0")"
out="${1:-ff_protocol/wire}"
"${PYTHON:-python3}" -m grpc_tools.protoc -I . \
  --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" relay.proto
# protoc writes a top-level import; ours live in a package.
sed -i 's/^import relay_pb2 as/from ff_protocol.wire import relay_pb2 as/' "$out/relay_pb2_grpc.py"
