"""Tracing costs nothing without a collector: the code that creates and sends spans is not even imported."""

import subprocess
import sys

import pytest

from tests.architecture.containers import ROOT

CHECK = """
import sys
import {module}
from shared.observability import tracing
tracing.start("test")
with tracing.span("x") as span:
    assert span.traceparent is None
ours = ("opentelemetry.exporter", "opentelemetry.sdk.trace", "google.protobuf", "shared.observability.exporting")
found = " ".join(name for name in ours if name in sys.modules)
sys.exit(found or 0)
"""


@pytest.mark.parametrize("module", ["api.app", "worker.runtime", "worker.courier.__main__"])
def test_the_code_for_spans_is_not_imported_while_tracing_is_off(module: str) -> None:
    """The Redis driver imports the library's interface whenever it is installed; the interface does nothing there."""
    run = subprocess.run(
        [sys.executable, "-c", CHECK.format(module=module)],
        cwd=ROOT,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr.strip()) == (0, "")
