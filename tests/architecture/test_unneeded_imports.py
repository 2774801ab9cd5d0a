"""No process imports what it does not need: the gateway stays small, and tracing costs nothing without a collector."""

import subprocess
import sys
from typing import Final

import pytest

from tests.architecture.containers import ROOT

CHECK: Final = """
import sys
import {module}
from shared.observability import tracing
tracing.start("test")
with tracing.span("x") as span:
    assert span.traceparent is None
sys.exit(" ".join(name for name in {unneeded} if name in sys.modules) or 0)
"""
SPANS: Final = (
    "opentelemetry.exporter",
    "opentelemetry.sdk.trace",
    "google.protobuf",
    "shared.observability.exporting",
)
"""The code that creates and sends spans. The Redis driver imports the interface of OpenTelemetry whenever it is
installed; the interface does nothing there.
"""
INFERENCE: Final = ("numpy", "cv2", "PIL", "onnxruntime", "insightface")


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("api.app", (*SPANS, *INFERENCE, "worker")),
        ("worker.courier.__main__", (*SPANS, *INFERENCE)),
        ("worker.runtime", SPANS),
    ],
)
def test_a_process_does_not_import_what_it_does_not_need(module: str, unneeded: tuple[str, ...]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CHECK.format(module=module, unneeded=unneeded)],
        cwd=ROOT,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr.strip()) == (0, "")
