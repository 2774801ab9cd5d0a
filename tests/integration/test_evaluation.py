"""Error rates of the compact pack on the labelled pictures, and jobs that use one of its measured rates."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from tests.photos import ASTRONAUT, SIX_FACES, labelled
from tests.stacks import serving
from tools.setup import models_dir
from tools.stack import Stack
from worker.evaluation.__main__ import CALIBRATION, CURVE, main
from worker.packs import manifests


@pytest.fixture(autouse=True)
def _compact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_PACK", "compact")
    monkeypatch.setenv("VULTUS_MODELS_DIR", str(models_dir()))


def output_of(*arguments: str) -> str:
    lines: list[str] = []
    assert main(arguments, say=lines.append) == 0
    return "\n".join(lines)


def test_the_labelled_pairs_have_no_errors_and_are_too_few_for_a_table(tmp_path: Path) -> None:
    text = output_of("pairs", str(labelled("pairs.csv")), "--out", str(tmp_path))
    assert "23 pairs of the same person, 80 of different people" in text
    assert "0.350   0 [0, 0.037] (0 of 80)                  0 [0, 0.13] (0 of 23)  <- threshold of the pack" in text
    assert "30,000 of different people are needed" in text
    assert [path.name for path in tmp_path.iterdir()] == [CURVE]
    assert not (tmp_path / CALIBRATION).exists()


def test_the_labelled_screens_are_refused_and_the_live_pass() -> None:
    text = output_of("liveness", str(labelled("liveness.csv")))
    assert "screen       2 pictures: 0 live, 2 spoof, 0 uncertain  APCER 0 [0, 1] (0 of 2)" in text
    assert "live         5 pictures: 5 live, 0 spoof, 0 uncertain  BPCER 0 [0, 0.6] (0 of 5)" in text
    assert "Too few pictures to state a rate: screen, live" in text


def test_the_table_of_effects_is_printed_for_the_labelled_pairs() -> None:
    text = output_of("effects", "--pictures", str(labelled("pairs.csv").parent), "--most", "3")
    lines = text.splitlines()
    undamaged = next(line for line in lines if line.startswith("undamaged"))
    assert undamaged.replace(" %", "%").split()[1:4] == ["100.0%", "0.0%", "0.0%"]
    assert len([line for line in lines if line.startswith("as they are")]) == 3
    assert "Gaussian blur, 4 % of the face's width" in text


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole service over the installed files with this version's table, and with a threshold from the operator."""
    models = tmp_path_factory.mktemp("models")
    folder = models / "compact"
    folder.mkdir()
    installed = models_dir() / "compact"
    known, current = (
        json.loads(path.read_bytes()) for path in (installed / manifests.MANIFEST, manifests.catalog()["compact"])
    )
    (folder / manifests.MANIFEST).write_text(json.dumps({**known, "calibration": current["calibration"]}))
    for path in installed.iterdir():
        if path.name != manifests.MANIFEST:
            (folder / path.name).symlink_to(path)
    settings = {"VULTUS_PACK": "compact", "VULTUS_MODELS_DIR": str(models), "VULTUS_VERIFY_THRESHOLD": "0.44"}
    with serving(tmp_path_factory.mktemp("stack"), settings) as running:
        yield running


def verified(stack: Stack, **params: float) -> dict[str, Any]:
    """A job that compares the astronaut with the largest of six other faces."""
    with ASTRONAUT.open("rb") as image, SIX_FACES.open("rb") as reference:
        answer = requests.post(
            f"{stack.url}/v1/jobs",
            data={"operation": "verify", "params": json.dumps({"select": "largest", **params})},
            files={"image": image, "reference": reference},
            headers={"Prefer": "wait=30"},
            timeout=40,
        )
    assert answer.status_code == 200, answer.text
    return cast("dict[str, Any]", answer.json())


@pytest.mark.parametrize(
    ("asked", "threshold", "rule", "fmr"),
    [
        ({"fmr": 1e-2}, 0.251, "fmr", 1e-2),
        ({"fmr": 1e-4}, 0.412, "fmr", 1e-4),
        ({"threshold": 0.338}, 0.338, "request", 1e-3),
        ({"threshold": 0.2}, 0.2, "request", None),
        ({}, 0.44, "setting", pytest.approx(3.65e-5, rel=0.01)),
    ],
)
def test_a_job_reports_the_source_of_its_threshold_and_its_error_rate(
    calibrated: Stack, asked: dict[str, float], threshold: float, rule: str, fmr: Any
) -> None:
    result = verified(calibrated, **asked)["result"]
    assert (result["verified"], result["reason"]) == (False, "below_threshold")
    assert (result["threshold"], result["threshold_from"], result["estimated_fmr"]) == (threshold, rule, fmr)


def test_a_rate_that_was_not_measured_fails_the_job_with_its_code(calibrated: Stack) -> None:
    job = verified(calibrated, fmr=1e-6)
    assert (job["status"], job["error"]["code"]) == ("failed", "fmr_out_of_range")
    assert "0.01 down to 1e-05" in job["error"]["detail"]
    assert "nearest rate is 1e-05, at a threshold of 0.476" in job["error"]["detail"]
