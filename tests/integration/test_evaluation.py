"""Error rates of the compact pack on the labelled pictures, and jobs that aim at one of its measured rates."""

import shutil
from pathlib import Path

import pytest

from shared.errors import ErrorCode, JobError
from shared.operations import Operation, VerifyResult, parse_params
from tests.photos import ASTRONAUT, SIX_FACES, labelled
from tests.unit.worker.operations.asking import no_clock
from tools.setup import models_dir
from worker import operations
from worker.engine import packs
from worker.engine.devices import choose_device
from worker.engine.insight import InsightEngine
from worker.evaluation.__main__ import CALIBRATION, CURVE, main
from worker.images import decode


@pytest.fixture(autouse=True)
def _compact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_PACK", "compact")
    monkeypatch.setenv("VULTUS_MODELS_DIR", str(models_dir()))


def said(*arguments: str) -> str:
    lines: list[str] = []
    assert main(arguments, say=lines.append) == 0
    return "\n".join(lines)


def test_the_labelled_pairs_have_no_error_at_the_packs_limit_and_are_too_few_for_a_table(tmp_path: Path) -> None:
    text = said("pairs", str(labelled("pairs.csv")), "--out", str(tmp_path))
    assert "23 pairs of the same person, 80 of different people" in text
    assert "0.350   0 [0, 0.037] (0 of 80)                  0 [0, 0.13] (0 of 23)  <- the pack's" in text
    assert "30,000 of different people are needed" in text
    assert [path.name for path in tmp_path.iterdir()] == [CURVE]
    assert not (tmp_path / CALIBRATION).exists()


def test_the_labelled_screens_are_refused_and_the_live_pass() -> None:
    text = said("liveness", str(labelled("liveness.csv")))
    assert "screen       2 pictures: 0 live, 2 spoof, 0 uncertain  APCER 0 [0, 1] (0 of 2)" in text
    assert "live         5 pictures: 5 live, 0 spoof, 0 uncertain  BPCER 0 [0, 0.6] (0 of 5)" in text
    assert "Too few to name a rate: screen, live" in text


def test_a_job_may_aim_at_a_rate_that_was_measured_for_the_pack(tmp_path: Path) -> None:
    folder = tmp_path / "compact"  # the installed files under this version's manifest
    folder.mkdir()
    shutil.copyfile(packs.catalog()["compact"], folder / packs.MANIFEST)
    for path in (models_dir() / "compact").iterdir():
        if path.name != packs.MANIFEST:
            (folder / path.name).symlink_to(path)
    engine = InsightEngine(tmp_path, pack="compact", device=choose_device("cpu"))
    astronaut, six = (decode(path.read_bytes(), max_pixels=4_000_000) for path in (ASTRONAUT, SIX_FACES))

    def verified(fmr: float) -> VerifyResult:
        params = parse_params(Operation.VERIFY, {"fmr": fmr, "select": "largest"})
        work = operations.Work(engine=engine, clock=no_clock, image=astronaut, reference=six)
        result = operations.run(Operation.VERIFY, params, work)
        assert isinstance(result, VerifyResult)
        return result

    other = verified(1e-4)
    assert (other.verified, other.threshold, other.threshold_from, other.estimated_fmr) == (False, 0.412, "fmr", 1e-4)
    with pytest.raises(JobError, match="were measured from") as error:
        verified(1e-6)
    assert error.value.code == ErrorCode.FMR_OUT_OF_RANGE
