"""The gateway stays small: it loads nothing of the inference stack."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "cv2", "PIL", "onnxruntime", "insightface", "worker")


def test_the_gateway_loads_no_inference_stack() -> None:
    code = f"import api.app, sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
