"""Liveness is read from the same pixels whether a photograph was read whole or at a fraction."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from shared.operations import Operation, parse_params
from tests.pictures import PINK, WHITE, Kind, encoded, scene
from worker import operations
from worker.engine.base import AS_THE_PACK_SAYS, Detection, Image, Search
from worker.engine.fake import FakeEngine
from worker.images import decode
from worker.operations import Work

WHOLE, HALF = (1920, 3200), (960, 1600)
"""Height and width of the photograph."""
SMALL = ((300, 300, 440, 460), PINK)
LARGE = ((1700, 500, 2400, 1300), WHITE)
"""At half its size the first has 70 pixels across, the second 350."""


class Watched(FakeEngine):
    """Notes the size of each picture that is searched, and each box and picture that liveness is read from."""

    def __init__(self) -> None:
        self.searched: list[tuple[int, ...]] = []
        self.judged: list[tuple[tuple[int, ...], tuple[float, ...]]] = []

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Note the size."""
        self.searched.append(image.shape[:2])
        return super().detect(image, search)

    def liveness(self, image: Image, face: Detection) -> float:
        """Note the picture and the box."""
        self.judged.append((image.shape[:2], face.box))
        return super().liveness(image, face)


@cache
def photograph(*faces: Any, kind: Kind = "JPEG") -> bytes:
    """A large photograph; making one takes longer than a test with it."""
    return encoded(scene(*faces, size=(WHOLE[1], WHOLE[0])), kind)


def judged(operation: Operation, *faces: Any, kind: Kind = "JPEG", **params: Any) -> tuple[Watched, list[str]]:
    """The engine after a job on a large photograph, and the stages of the job."""
    data = photograph(*faces, kind=kind)
    stages: list[str] = []

    @contextmanager
    def clock(stage: str) -> Iterator[None]:
        stages.append(stage)
        yield

    engine, parsed = Watched(), parse_params(operation, params)
    image = decode(data, max_pixels=40_000_000, min_long_side=operations.min_long_side(parsed, engine.info))
    reference = image if operation is Operation.VERIFY else None
    operations.run(operation, parsed, Work(engine=engine, clock=clock, image=image, reference=reference))
    return engine, stages


OPERATIONS = [
    (Operation.LIVENESS, {}),
    (Operation.REGISTER, {}),
    (Operation.ANALYZE, {}),
    (Operation.FRAME, {}),
    (Operation.VERIFY, {"liveness": "observe"}),
]


@pytest.mark.parametrize("face", [SMALL, LARGE])
@pytest.mark.parametrize(("operation", "params"), OPERATIONS)
def test_a_photograph_read_whole_is_judged_as_one_read_at_half(
    operation: Operation, params: dict[str, Any], face: Any
) -> None:
    whole, _ = judged(operation, face, full_size=True, **params)
    half, _ = judged(operation, face, **params)
    assert whole.judged == half.judged
    assert len(half.judged) == 1


def test_every_face_of_an_analysis_is_judged_as_if_it_were_alone() -> None:
    both, _ = judged(Operation.ANALYZE, LARGE, SMALL)
    alone = [judged(Operation.LIVENESS, face)[0].judged[0] for face in (LARGE, SMALL)]
    assert [shape for shape, _ in both.judged] == [shape for shape, _ in alone] == [HALF, WHOLE]


@pytest.mark.parametrize(("kind", "params"), [("JPEG", {}), ("PNG", {"full_size": True}), ("PNG", {})])
def test_only_large_jpegs_with_full_size_pay_for_a_second_search(kind: Kind, params: dict[str, Any]) -> None:
    assert len(judged(Operation.LIVENESS, LARGE, kind=kind, **params)[0].searched) == 1


def test_a_large_jpeg_with_full_size_is_searched_at_both_sizes() -> None:
    whole, _ = judged(Operation.LIVENESS, LARGE, full_size=True)
    assert whole.searched == [WHOLE, HALF]


def test_a_small_face_is_decoded_again_once() -> None:
    assert judged(Operation.LIVENESS, SMALL)[1].count("decode") == 1


def test_a_face_that_the_fraction_does_not_show_is_judged_as_it_was_found() -> None:
    class Nearsighted(Watched):
        def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
            return super().detect(image, search) if image.shape[0] > HALF[0] else []

    data = photograph(LARGE)
    engine = Nearsighted()
    params = parse_params(Operation.LIVENESS, {"full_size": True})

    @contextmanager
    def clock(_stage: str) -> Iterator[None]:
        yield

    result: Any = operations.run(
        Operation.LIVENESS, params, Work(engine=engine, clock=clock, image=decode(data, max_pixels=40_000_000))
    )
    assert result.liveness.outcome == "live"
    assert [shape for shape, _ in engine.judged] == [WHOLE]
