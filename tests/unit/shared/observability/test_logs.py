"""Log entries never contain the inputs of jobs."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared.observability import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    rendering = structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**rendering)


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_contains_the_location_but_no_values(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(form=form, level="info")
    log = structlog.get_logger("test")

    def work(embedding: list[float]) -> None:
        raise RuntimeError(len(embedding))

    try:
        work([0.123456789])
    except RuntimeError:
        log.exception("job.crashed", job_id="job_1")
    output = capsys.readouterr().err
    assert "job.crashed" in output
    assert "test_logs.py" in output
    assert "0.123456789" not in output.replace("work([0.123456789])", "")


@pytest.mark.parametrize(("form", "expected"), [("", "vultus-api: no port"), ("json", "start.refused")])
def test_a_refused_start_is_one_line_in_the_form_of_the_logs(
    form: str, expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULTUS_LOG_FORMAT", form)
    logs.refuse_start("vultus-api", "no port")
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    if form == "json":
        assert json.loads(line).items() >= {"process": "vultus-api", "detail": "no port", "level": "error"}.items()
