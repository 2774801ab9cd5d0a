"""Coarse-to-fine detection decides like the full pass and never loses a face that counts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import RequestError
from shared.operations import (
    AnalyzeParams,
    DetectionMode,
    EmbedParams,
    FindParams,
    OneFaceParams,
    Operation,
    Select,
    VerifyParams,
    parse_params,
)
from tests.unit.worker.operations.asking import Recording, no_clock, picture, run
from worker.engine.base import AS_THE_PACK_SAYS, Detection, EngineInfo, Image, Search
from worker.engine.fake import FakeEngine
from worker.images import Picture
from worker.operations import Work, choosing
from worker.operations.coarse_to_fine import PLAN

WIDE, HIGH = 800, 600
SCALE = WIDE / PLAN.coarse
Box = tuple[int, int, int, int]


class CoarseEngine(Recording):
    """A detector whose coarse pass misses small faces, and scores and locates the others imprecisely."""

    def __init__(self, *, jitter: Sequence[float] = (0.0,), score: float = 0.9) -> None:
        super().__init__()
        self.jitter = jitter
        """Relative errors of the sides of coarse boxes, in turn."""
        self.score = score
        """Coarse score of every face except the largest."""

    @property
    def info(self) -> EngineInfo:
        """An engine that supports coarse-to-fine detection."""
        return replace(super().info, coarse_to_fine=True)

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Degrade what the coarse pass returns."""
        found = super().detect(image, search)
        if search.sizes != (PLAN.coarse,):
            return found
        blind = 0.9 * PLAN.smallest * max(image.shape[:2]) / PLAN.coarse
        coarse = [
            replace(_resized(face, 1 + self.jitter[index % len(self.jitter)]), score=0.9 if not index else self.score)
            for index, face in enumerate(found)
            if face.area >= blind**2
        ]
        return sorted((face for face in coarse if face.score >= (search.threshold or 0)), key=lambda face: -face.area)


def _resized(face: Detection, factor: float) -> Detection:
    x1, y1, x2, y2 = face.box
    across, down = (x2 - x1) * (factor - 1) / 2, (y2 - y1) * (factor - 1) / 2
    return replace(face, box=(x1 - across, y1 - down, x2 + across, y2 + down))


def scene(boxes: Sequence[Box]) -> Picture:
    image = np.full((HIGH, WIDE, 3), 30, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return Picture(image, WIDE, HIGH)


def searched(
    engine: FakeEngine, image: Picture, params: FindParams, detection: DetectionMode
) -> tuple[list[Detection], Work]:
    work = Work(engine=engine, clock=no_clock, image=image, detection=detection)
    return work.find(image, params), work


@st.composite
def scenes(draw: st.DrawFn) -> Picture:
    """A face in the left half, and up to three others of any size in cells at the right."""
    wide, high = draw(st.integers(40, 320)), draw(st.integers(40, 320))
    left, top = draw(st.integers(0, 420 - wide)), draw(st.integers(0, HIGH - high))
    boxes = [(left, top, left + wide, top + high)]
    for cell in range(draw(st.integers(0, 3))):
        w, h = draw(st.integers(12, 180)), draw(st.integers(12, 180))
        x, y = draw(st.integers(440, WIDE - w)), 200 * cell + draw(st.integers(0, 198 - h))
        boxes.append((x, y, x + w, y + h))
    return scene(boxes)


jitters = st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=4)
scores = st.floats(PLAN.response, 1.0)


@settings(deadline=None, max_examples=80)
@given(
    image=scenes(),
    jitter=jitters,
    score=scores,
    select=st.sampled_from(["prominent", "all", "largest", "center"]),
    ignore_below=st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.5, 1.0]),
)
def test_a_bystander_that_counts_is_never_lost(
    image: Picture, jitter: list[float], score: float, select: Select, ignore_below: float
) -> None:
    params = OneFaceParams(select=select, ignore_below=ignore_below)
    engine = CoarseEngine(jitter=jitter, score=score)
    full, short = (
        choosing.one(searched(engine, image, params, mode)[0], image, params) for mode in ("full", "coarse_to_fine")
    )
    assert (short.count, short.candidates) == (full.count, full.candidates)
    assert (short.face is None) == (full.face is None)
    if full.face and short.face:
        assert short.face.box == full.face.box
        assert short.face.landmarks == full.face.landmarks


@settings(deadline=None, max_examples=50)
@given(image=scenes(), jitter=jitters, score=scores, select=st.sampled_from(["prominent", "all", "largest", "center"]))
def test_embed_selects_the_same_faces(image: Picture, jitter: list[float], score: float, select: Select) -> None:
    params = EmbedParams(select=select)
    engine = CoarseEngine(jitter=jitter, score=score)
    full, short = (
        choosing.selected(searched(engine, image, params, mode)[0], image, select=select)
        for mode in ("full", "coarse_to_fine")
    )
    assert [face.box for face in short] == [face.box for face in full]


FACE: Box = (200, 150, 400, 350)


def test_one_large_face_needs_no_full_pass() -> None:
    engine = CoarseEngine()
    [face], work = searched(engine, scene([FACE]), OneFaceParams(), "coarse_to_fine")
    assert list(face.box) == list(FACE)
    assert [search.sizes for search in engine.searches] == [(PLAN.coarse,), (PLAN.fine,)]
    assert not any(search.retry for search in engine.searches)
    assert work.way == "coarse_to_fine"


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [(200, 150, 260, 210)],
        [FACE, (600, 100, 700, 200)],
        [(0, 150, 30, 350), (600, 400, 640, 440)],
    ],
    ids=["none", "small", "second", "sliver"],
)
def test_every_other_picture_gets_the_full_pass(boxes: list[Box]) -> None:
    engine = CoarseEngine(score=PLAN.response)
    found, work = searched(engine, scene(boxes), OneFaceParams(), "coarse_to_fine")
    assert work.way == "full"
    assert engine.searches[-1] == Search()
    assert [face.box for face in found] == sorted(boxes, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))


def test_a_face_with_a_low_coarse_score_gets_the_full_pass() -> None:
    _, work = searched(Dim(), scene([FACE]), OneFaceParams(), "coarse_to_fine")
    assert work.way == "full"


def test_a_dark_face_gets_the_full_pass() -> None:
    image = scene([FACE])
    image.pixels[152:348, 202:398] = 20
    _, work = searched(CoarseEngine(), image, OneFaceParams(), "coarse_to_fine")
    assert work.way == "full"


class Dim(CoarseEngine):
    """Scores every face in the coarse pass just below what is sure."""

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Lower the scores."""
        score = PLAN.sure - 0.01 if search.sizes else 1.0
        return [replace(face, score=score) for face in super().detect(image, search)]


class Unsteady(CoarseEngine):
    """Does not find the face again in the fine pass."""

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Fail the fine pass."""
        found = super().detect(image, search)
        return [] if search.sizes == (PLAN.fine,) else found


def test_a_face_that_the_fine_pass_misses_gets_the_full_pass() -> None:
    [face], work = searched(Unsteady(), scene([FACE]), OneFaceParams(), "coarse_to_fine")
    assert (list(face.box), work.way) == (list(FACE), "full")


@pytest.mark.parametrize(
    ("params", "detection"),
    [
        (FindParams(select="largest"), "coarse_to_fine"),
        (AnalyzeParams(select="largest"), "coarse_to_fine"),
        (EmbedParams(), "coarse_to_fine"),
        (OneFaceParams(ignore_below=0.0), "coarse_to_fine"),
        (OneFaceParams(det_size=(640,)), "coarse_to_fine"),
        (OneFaceParams(detection="full"), "coarse_to_fine"),
        (OneFaceParams(), "full"),
    ],
)
def test_a_search_for_all_faces_is_full_at_once(params: FindParams, detection: DetectionMode) -> None:
    engine = CoarseEngine()
    _, work = searched(engine, scene([FACE]), params, detection)
    assert work.way == "full"
    assert len(engine.searches) == 1


def test_the_jobs_choice_takes_precedence_over_the_setting() -> None:
    _, work = searched(CoarseEngine(), scene([FACE]), OneFaceParams(detection="coarse_to_fine"), "full")
    assert work.way == "coarse_to_fine"


def test_an_engine_with_a_fixed_size_always_uses_the_full_pass() -> None:
    _, work = searched(FakeEngine(), scene([FACE]), OneFaceParams(), "coarse_to_fine")
    assert work.way == "full"


def test_a_job_whose_pictures_were_searched_differently_is_mixed() -> None:
    small = picture(((100, 100, 130, 130), (255, 255, 255)))
    work = Work(engine=CoarseEngine(), clock=no_clock, image=scene([FACE]), reference=small, detection="coarse_to_fine")
    ways = [work.way]
    for image in (work.image, small):
        work.find(image, VerifyParams())
        ways.append(work.way)
    assert ways == [None, "coarse_to_fine", "mixed"]


def test_operations_on_one_person_give_the_same_results_both_ways() -> None:
    image = scene([FACE])
    for operation in (Operation.VERIFY, Operation.LIVENESS, Operation.REGISTER, Operation.FRAME):
        reference = image if operation is Operation.VERIFY else None
        full, short = (
            run(operation, image, reference=reference, engine=CoarseEngine(), detection=mode)
            for mode in ("full", "coarse_to_fine")
        )
        assert short == full


def test_coarse_to_fine_with_a_size_is_refused() -> None:
    with pytest.raises(RequestError) as error:
        parse_params(Operation.VERIFY, {"det_size": 640, "detection": "coarse_to_fine"})
    assert error.value.fields[0].field == "params.detection"
    assert "omit det_size" in error.value.fields[0].detail


@pytest.mark.parametrize("operation", [Operation.DETECT, Operation.ANALYZE])
def test_operations_on_all_faces_take_no_choice(operation: Operation) -> None:
    with pytest.raises(RequestError):
        parse_params(operation, {"detection": "full"})
