"""The comparison of coarse-to-fine with full detection, over pictures for the fake engine."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.worker.operations.test_coarse_to_fine import CoarseEngine
from worker.evaluation.__main__ import main
from worker.evaluation.labels import Pair
from worker.evaluation.passes import compared, copies
from worker.images import Picture
from worker.operations.coarse_to_fine import PLAN


def portrait(colour: tuple[int, int, int]) -> Picture:
    image = np.full((600, 800, 3), 30, np.uint8)
    image[150:400, 250:450] = colour
    return Picture(image, 800, 600)


PICTURES = {Path("a"): portrait((255, 255, 255)), Path("b"): portrait((255, 200, 255))}


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return list(compared(CoarseEngine(), PICTURES, [Pair(Path("a"), Path("b"), same=False)], PLAN))


def test_both_ways_agree_on_pictures_of_one_large_face(lines: list[str]) -> None:
    [row] = [line.split() for line in lines if line.startswith("as it is")]
    assert row[3:5] == ["2", "100%"]
    assert row[8:14] == ["2", "0", "0", "0", "0", "0"]
    [bystander] = [line.split() for line in lines if line.startswith("bystander of 25%")]
    assert bystander[4] == "0%"
    [decisions] = [line.split() for line in lines if line.startswith("full with short")]
    assert decisions[-1] == "0"


def test_the_report_has_a_row_for_every_copy(lines: list[str]) -> None:
    names = copies(PICTURES, {})
    assert len(names) > 15
    for name in names:
        assert any(line.startswith(name) for line in lines)


def test_a_plan_with_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["detection", "pairs.csv", "--plan", "side=3"])
    assert exit_.value.code == 2
    assert "--plan" in capsys.readouterr().err
