"""The compact pack on labelled portraits that arrive on their side or upside down: turned, or refused."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from itertools import cycle
from typing import Any

import cv2
import numpy as np
import pytest

from shared.operations import Operation, parse_params
from shared.results import RegisterResult
from tests.integration.test_engine_expectations import engine, expected, portraits
from tests.photos import ASTRONAUT, NO_FACE
from tests.pictures import Pixels
from worker import operations
from worker.engine.five_points import five_point_pose
from worker.images import Picture, decode
from worker.operations import Work

pytestmark = pytest.mark.integration

TURNS = (90, 180, 270)
LONGEST = 800
"""Long side of the portraits here, to save time."""


def run(operation: Operation, image: Pixels, **params: Any) -> tuple[Any, list[str]]:
    """The result, and the stages that ran."""
    stages: list[str] = []

    def clock(stage: str) -> Any:
        stages.append(stage)
        return nullcontext()

    work = Work(engine=engine(), clock=clock, image=Picture(image, image.shape[1], image.shape[0]))
    return operations.run(operation, parse_params(operation, params), work), stages


def register(image: Pixels, **params: Any) -> RegisterResult:
    result, _ = run(Operation.REGISTER, image, skip_liveness=True, **params)
    assert isinstance(result, RegisterResult)
    return result


def turned(image: Pixels, degrees: int) -> Pixels:
    return np.ascontiguousarray(np.rot90(image, -degrees // 90))


@cache
def astronaut() -> Pixels:
    return decode(ASTRONAUT.read_bytes(), max_pixels=40_000_000).pixels


def people() -> Iterator[tuple[str, Pixels]]:
    alone = {name for name, entry in expected().items() if len(entry.get("faces", ())) == 1}
    for name, image, _ in [each for each in portraits() if each[0] in alone][::2]:
        scale = min(1.0, LONGEST / max(image.shape[:2]))
        yield name, np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize("degrees", TURNS)
def test_a_turned_portrait_registers_like_the_upright_one(degrees: int) -> None:
    upright = register(astronaut())
    result = register(turned(astronaut(), degrees))
    assert result.registered
    assert result.orientation == 360 - degrees
    assert upright.embedding is not None
    assert result.embedding is not None
    assert np.dot(upright.embedding.vector, result.embedding.vector) > 0.99
    assert upright.face is not None
    assert result.face is not None
    assert result.face.box == pytest.approx(upright.face.box, abs=2)


@pytest.mark.parametrize("degrees", TURNS)
def test_a_turned_portrait_is_refused_if_it_may_not_be_turned(degrees: int) -> None:
    result = register(turned(astronaut(), degrees), auto_orient=False)
    assert not result.registered
    assert result.orientation == 0


def test_the_roll_of_a_head_on_its_side_is_read_from_the_five_points() -> None:
    image = turned(astronaut(), 90)
    [face] = engine().detect(image)
    assert abs(five_point_pose(face).roll) > 80
    [roll] = [check for check in register(image, auto_orient=False, detection="full").checks if check.name == "roll"]
    assert (roll.passed, roll.value) == (False, five_point_pose(face).roll)
    assert (roll.method or "").startswith("five_points")


def test_no_labelled_portrait_registers_wrongly_when_it_is_turned() -> None:
    wrong, accepted = [], 0
    for (name, image), degrees in zip(people(), cycle(TURNS), strict=False):  # `make effects` turns each in all ways
        upright = register(image, quality="off").embedding
        assert upright is not None, name
        result = register(turned(image, degrees), quality="off")
        if result.embedding is not None:
            accepted += 1
            if np.dot(upright.vector, result.embedding.vector) <= 0.9 or result.orientation != 360 - degrees:
                wrong.append((name, degrees, result.orientation))
    assert wrong == []
    assert accepted > 8


def test_an_upright_portrait_costs_no_extra_run() -> None:
    for operation in (Operation.LIVENESS, Operation.REGISTER):
        plain = run(operation, astronaut(), auto_orient=False)
        assert run(operation, astronaut()) == plain
        assert plain[1].count("detect") == 1


@pytest.mark.parametrize("name", ["brick.png", "coffee.png", "rocket.jpg", "chelsea.png"])
def test_no_orientation_of_a_picture_without_people_shows_a_face(name: str) -> None:
    image = decode((NO_FACE.parent / name).read_bytes(), max_pixels=40_000_000).pixels
    result, stages = run(Operation.LIVENESS, image)
    assert (result.reason, result.orientation) == ("no_face", 0)
    assert stages.count("detect") == 4
