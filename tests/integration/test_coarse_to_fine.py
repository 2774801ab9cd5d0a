"""Coarse-to-fine detection with real models: the same decisions as the full pass on every labelled picture."""

import json
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.operations import DetectionMode, OneFaceParams
from tests.integration.test_engine_expectations import engine, file_of, good, rows, wrong
from tests.photos import SIX_FACES, labelled
from worker.engine.base import Detection, Image, Search
from worker.images import Picture, decode
from worker.operations import Work, choosing
from worker.operations.coarse_to_fine import PLAN

pytestmark = pytest.mark.integration

PARAMS = OneFaceParams()


def untimed(_stage: str) -> AbstractContextManager[None]:
    return nullcontext()


def searched(picture: Picture, detection: DetectionMode) -> tuple[choosing.Chosen, Work]:
    """The person of a picture, as operations on one person choose."""
    work = Work(engine=engine(), clock=untimed, image=picture, detection=detection)
    return choosing.one(work.find(picture, PARAMS), picture, PARAMS), work


def agrees(picture: Picture) -> bool:
    """Whether both ways count as many faces and choose the same one."""
    full, short = (searched(picture, mode)[0] for mode in ("full", "coarse_to_fine"))
    if (full.count, full.candidates) != (short.count, short.candidates):
        return False
    if full.face is None or short.face is None:
        return full.face is short.face
    return choosing.overlap(full.face.box, short.face.box) > 0.8


def decoded(path: Path) -> Picture:
    return decode(path.read_bytes(), max_pixels=40_000_000, min_long_side=1600)


@cache
def person(name: str) -> tuple[Picture, Detection, tuple[float, ...], str | None]:
    """Picture, face, unit embedding and way of a labelled portrait, by coarse-to-fine detection."""
    picture = decoded(labelled(name))
    chosen, work = searched(picture, "coarse_to_fine")
    assert chosen.face is not None
    return picture, chosen.face, _embedding(picture, chosen.face), work.way


@cache
def fully(name: str) -> tuple[float, ...]:
    """Unit embedding of a labelled portrait by the full pass."""
    picture = decoded(labelled(name))
    face = searched(picture, "full")[0].face
    assert face is not None
    return _embedding(picture, face)


def _embedding(picture: Picture, face: Detection) -> tuple[float, ...]:
    vector = engine().embed(engine().align(picture.pixels, [face]))[0].astype(np.float64)
    return tuple(vector / np.linalg.norm(vector))


def test_both_ways_choose_the_same_face_in_every_labelled_picture() -> None:
    assert wrong((name, agrees(decoded(labelled(name)))) for name in good()) == []


def test_a_group_gets_the_full_pass() -> None:
    picture = decoded(SIX_FACES)
    chosen, work = searched(picture, "coarse_to_fine")
    assert (chosen.count, work.way) == (6, "full")


def test_every_pair_is_decided_alike_within_and_across_both_ways() -> None:
    threshold = engine().info.thresholds.match
    pairs = [(file_of(row), file_of(row, "2"), row["same"] == "1") for row in rows("pairs.csv")]
    assert len(pairs) == 103
    for first, second in ((_short, _short), (fully, _short), (_short, fully)):
        similarities = [float(np.array(first(one)) @ np.array(second(two))) for one, two, _ in pairs]
        decisions = [
            (str(pair), (value > threshold) == pair[2]) for pair, value in zip(pairs, similarities, strict=True)
        ]
        assert wrong(decisions) == []


def _short(name: str) -> tuple[float, ...]:
    return person(name)[2]


def test_most_portraits_need_no_full_pass() -> None:
    names = {file_of(row) for row in rows("pairs.csv")} | {file_of(row, "2") for row in rows("pairs.csv")}
    ways = [person(name)[3] for name in names]
    assert ways.count("coarse_to_fine") >= 0.6 * len(ways)


def test_liveness_labels_hold() -> None:
    limits = engine().info.thresholds

    def right(name: str, expect: str) -> bool:
        picture, face, *_ = person(name)
        score = engine().liveness(picture.pixels, face)
        assert score is not None
        return score >= limits.live if expect == "live" else score < limits.spoof

    labels = [(file_of(row), row["expect"]) for row in rows("liveness.csv") if row["expect"]]
    assert wrong((name, right(name, expect)) for name, expect in labels) == []


@pytest.mark.parametrize("share", [0.06, 0.1])
def test_a_bystander_just_above_the_limit_is_counted(share: float) -> None:
    names = [file_of(row) for row in rows("pairs.csv")][:12:3]
    portraits = [person(name)[:2] for name in dict.fromkeys(names)]
    for index, (picture, face) in enumerate(portraits):
        other, bystander = portraits[(index + 1) % len(portraits)]
        together = _whole(_beside(picture.pixels, _patch(other.pixels, bystander, area=share * face.area)))
        full, short = (searched(together, mode)[0] for mode in ("full", "coarse_to_fine"))
        assert full.count == 2
        assert short.count == 2


def _patch(image: Image, face: Detection, *, area: float) -> Image:
    """A face with some of its surroundings, resized to this area."""
    x1, y1, x2, y2 = face.box
    aside, off = 0.3 * (x2 - x1), 0.3 * (y2 - y1)
    part = image[max(0, int(y1 - off)) : int(y2 + off), max(0, int(x1 - aside)) : int(x2 + aside)]
    scale = (area / face.area) ** 0.5
    return np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _beside(image: Image, patch: Image) -> Image:
    patch = patch[: len(image)]
    together = np.full((len(image), image.shape[1] + patch.shape[1], 3), 127, np.uint8)
    together[:, : image.shape[1]] = image
    together[: len(patch), image.shape[1] :] = patch
    return together


def _whole(pixels: Image) -> Picture:
    return Picture(pixels, pixels.shape[1], pixels.shape[0])


def test_a_coarse_pass_alone_cannot_count_the_faces_of_a_classic_call() -> None:
    answers = json.loads(labelled("classic.json").read_text(encoding="utf-8"))
    overlooked = []
    for name in (name for name, calls in answers.items() if calls["/detect"]["status"] == 200):
        image = decoded(labelled(name)).pixels
        coarse = engine().detect(image, Search(threshold=PLAN.response, sizes=(PLAN.coarse,), retry=False))
        if coarse and all(candidate.score >= PLAN.sure for candidate in coarse):
            overlooked += [name] if len(engine().detect(image)) != len(coarse) else []
    assert overlooked, "where the coarse pass is sure, it counts right: classic calls may use it"
