"""Everything a site runs: read, train, pack, send; receive, admit, synthesise, fit, revoke."""

import os

# onnxruntime 1.29 and later keep a device number and report every session to their maker unless
# this is set before they are loaded. Nothing that runs here may report to anyone.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
