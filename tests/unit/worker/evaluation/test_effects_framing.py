"""Selection and orientation in the table of effects, over pictures for the fake engine."""

from pathlib import Path

import pytest

from shared.operations import OneFaceParams
from tests.pictures import PINK, WHITE, encoded, one_face
from worker.engine.fake import FakeEngine
from worker.evaluation.effects_framing import orientation, selection
from worker.evaluation.effects_laboratory import Laboratory, laboratory
from worker.evaluation.labels import Portrait
from worker.evaluation.people import people


@pytest.fixture
def material(tmp_path: Path) -> Laboratory:
    for name, colour in {"white": WHITE, "pink": PINK}.items():
        (tmp_path / f"{name}.png").write_bytes(encoded(one_face(colour)))
    portraits = [Portrait(tmp_path / f"{name}.png", name) for name in ("white", "pink")]
    return laboratory(FakeEngine(), people(portraits, most=9), params=OneFaceParams(), max_pixels=10_000_000, threads=2)


def cells(lines: list[str], start: str) -> list[str]:
    [line] = [line for line in lines if line.startswith(start)]
    return line[len(start) :].replace(" %", "%").split()


def test_a_bystander_is_distinguished_from_a_second_person(material: Laboratory) -> None:
    lines = list(selection(material))
    assert cells(lines, "nobody else") == ["100.0%"] * 8
    assert cells(lines, "half as wide, at the side") == ["100.0%", "100.0%", "0.0%", "0.0%"] + ["100.0%"] * 4
    prominent = cells(lines, "two people side by side")[:4]
    assert prominent == ["0.0%"] * 4


def test_an_upright_picture_registers_as_itself(material: Laboratory) -> None:
    lines = list(orientation(material))
    assert cells(lines, "0 degrees") == ["100.0%", "0.0%"] * 2
