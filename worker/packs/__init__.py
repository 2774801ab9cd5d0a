"""Model packs at install time: manifests, downloads, graph preparation, calibration, proof."""

import os

# onnxruntime from 1.29 on reports usage by default on Linux; the variable counts only if set before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
