"""From an upright image to faces, embeddings and liveness."""

import os

# onnxruntime from 1.29 on reports usage by default on Linux; the variable counts only if set before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
