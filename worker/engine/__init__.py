"""From an upright image to faces, embeddings and liveness."""

import os

# onnxruntime 1.29 and later report usage by default on Linux; the variable must be set before the first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
