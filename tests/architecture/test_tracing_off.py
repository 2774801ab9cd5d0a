"""A process without a collector pays nothing for tracing: what makes and sends spans is not even imported."""

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
def test_nothing_that_makes_or_sends_spans_is_imported_where_it_is_off(module: str) -> None:
    """The Redis driver imports the library's interface by itself wherever that is installed; it does nothing there."""
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
