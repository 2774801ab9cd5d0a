"""A picture that was read at a fraction of its size is read whole where that has made a face too small."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.operations import Operation, parse_params
from tests.pictures import PINK, WHITE, encoded, scene
from worker import operations
from worker.engine.fake import FakeEngine
from worker.images import Picture, decode
from worker.operations import Work

SMALL = ((200, 100, 400, 320), PINK)
LARGE = ((700, 100, 960, 420), WHITE)
"""At half its size the first has 100 pixels across, the second 130; the recogniser's crop has 112."""


def half(*faces: Any) -> Picture:
    picture = decode(encoded(scene(*faces, size=(1000, 600)), "JPEG"), max_pixels=600_000, min_long_side=500)
    assert picture.pixels.shape == (300, 500, 3)
    return picture


def run(operation: Operation, image: Picture, *, reference: Picture | None = None, **params: Any) -> tuple[Any, int]:
    """The result, and how often a picture was decoded again."""
    stages: list[str] = []

    @contextmanager
    def clock(stage: str) -> Iterator[None]:
        stages.append(stage)
        yield

    work = Work(engine=FakeEngine(), clock=clock, image=image, reference=reference)
    return operations.run(operation, parse_params(operation, params), work), stages.count("decode")


@pytest.mark.parametrize("operation", [Operation.EMBED, Operation.ANALYZE, Operation.LIVENESS, Operation.REGISTER])
def test_a_small_face_is_read_from_the_whole_picture_and_a_large_one_is_not(operation: Operation) -> None:
    assert [run(operation, half(face))[1] for face in (SMALL, LARGE)] == [1, 0]


def test_finding_faces_needs_no_second_look() -> None:
    assert run(Operation.DETECT, half(SMALL))[1] == 0


def test_only_the_faces_that_are_meant_need_detail() -> None:
    assert run(Operation.EMBED, half(SMALL, LARGE))[1] == 1
    assert run(Operation.EMBED, half(SMALL, LARGE), select="largest")[1] == 0


def test_each_picture_of_a_verification_is_read_as_it_needs() -> None:
    assert run(Operation.VERIFY, half(LARGE), reference=half(LARGE))[1] == 0
    result, again = run(Operation.VERIFY, half(SMALL), reference=half(((100, 100, 400, 420), PINK)))
    assert (again, result.verified) == (1, True)


def test_both_ways_to_read_give_the_same_face_in_pixels_of_the_whole_image() -> None:
    data = encoded(scene(SMALL, LARGE, size=(1000, 600)), "JPEG")
    whole = run(Operation.EMBED, decode(data, max_pixels=600_000))[0]
    reduced = run(Operation.EMBED, decode(data, max_pixels=600_000, min_long_side=500))[0]
    assert reduced.image == whole.image
    for one, other in zip(reduced.faces, whole.faces, strict=True):
        assert one.box == pytest.approx(other.box, abs=2)
        assert one.quality.face_width_px == pytest.approx(other.quality.face_width_px, abs=2)
        assert sum(a * b for a, b in zip(one.embedding.vector, other.embedding.vector, strict=True)) > 0.99
