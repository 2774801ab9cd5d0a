"""Compare coarse-to-fine with full detection on labeled pictures and on degraded and reframed copies of them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.operations import OneFaceParams
from worker.engine.base import Detection, Engine, Image
from worker.engine.degradations import Kind, degraded
from worker.evaluation.labels import Pair
from worker.images import Picture
from worker.operations import Work, choosing, coarse_to_fine
from worker.operations.coarse_to_fine import Plan

DEGRADED: Final[tuple[Kind, ...]] = (
    "light_5",
    "blur_7",
    "motion_blur",
    "jpeg_5",
    "overexposed",
    "lower_half_covered",
    "eyes_covered",
    "turned_90",
)
GRAY: Final = 127
SAME_FACE: Final = 0.5
"""Overlap, as intersection over union, above which two boxes are the same face."""
HEADINGS: Final = (
    (
        f"{'copy':<26}{'pictures':>9}{'short':>7}{'CPU ms, median':>17}{'ratio':>7}{'full':>6}{'lost':>6}{'gained':>7}"
        f"{'other':>6}{'count':>7}{'live':>6}{'cosine: median, 5 %, min':>28}"
    ),
    f"{'':<26}{'':>9}{'way':>7}{'full':>9}{'short':>8}{'':>7}{'finds':>6}",
)
LEGEND: Final = (
    "Short way: pictures that needed no full pass. CPU: detection, both ways in turn on one thread; the ratio is that",
    "of the sums. Lost: the person is found by the full pass only; gained: by coarse-to-fine only. Other: another face",
    "was chosen. Count, live: the number of faces that count, or the liveness outcome, differs. Cosine: between the",
    "embeddings of both ways, if the short one was taken.",
)

Vector = NDArray[np.float64]
Copy = Callable[[Image, Detection], Image | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one way of detection leads to."""

    face: Detection | None
    count: int
    cpu: float
    """Seconds of processor time for detection."""
    short: bool
    vector: Vector
    """Unit embedding; zeros if there is no face."""
    liveness: str | None = None


def compared(engine: Engine, pictures: Mapping[Path, Picture], pairs: Sequence[Pair], plan: Plan) -> Iterator[str]:
    """Yield the lines of the report."""
    params = OneFaceParams()
    faces = {
        path: face
        for path, picture in pictures.items()
        if (face := _read(engine, picture, params, None).face) is not None
    }
    yield f"DETECTION of the person in {len(faces)} pictures, coarse-to-fine against the full pass"
    yield ""
    yield from HEADINGS
    readings: dict[str, dict[Path, tuple[Reading, Reading]]] = {}
    for name, copy in copies(pictures, faces).items():
        rows = {}
        for path, face in faces.items():
            if (image := copy(pictures[path].pixels, face)) is not None:
                full, short = (_read(engine, _whole(image), params, each) for each in (None, plan))
                rows[path] = full, short
        readings[name] = rows
        yield _line(name, list(rows.values()))
    yield ""
    yield from LEGEND
    yield ""
    yield from _decisions(readings, pairs, match=engine.info.thresholds.match)


def copies(pictures: Mapping[Path, Picture], faces: Mapping[Path, Detection]) -> dict[str, Copy]:
    """Return every kind of copy by name; a copy is None if the picture does not allow it."""
    others = [(pictures[path].pixels, face) for path, face in faces.items()]
    return {
        "as it is": lambda image, _: image,
        **{kind: partial(_degraded, kind=kind) for kind in DEGRADED},
        **{f"rotated by {degrees} degrees": partial(_rotated, degrees=degrees) for degrees in (20, 45)},
        **{f"cropped to {room:g} boxes": partial(_cropped, room=room) for room in (0.9, 1.15)},
        **{f"border cuts {share:.0%}": partial(_cut, share=share) for share in (0.15, 0.3)},
        **{f"face of 1/{part} of the side": partial(_distant, part=part) for part in (8, 20)},
        **{f"bystander of {share:.0%}": partial(_with_bystander, others=others, share=share) for share in (0.06, 0.25)},
    }


def _read(engine: Engine, picture: Picture, params: OneFaceParams, plan: Plan | None) -> Reading:
    """Detect and read the person; without a plan by the full pass."""
    begin = time.process_time()
    found = None if plan is None else coarse_to_fine.detect(engine, picture, params, plan)
    short = found is not None
    if found is None:
        found = engine.detect(picture.pixels)
    cpu = time.process_time() - begin
    chosen = choosing.one(found, picture, params)
    if chosen.face is None:
        return Reading(None, chosen.count, cpu, short, np.zeros(engine.info.embedding_size))
    raw = engine.embed(engine.align(picture.pixels, [chosen.face]))[0].astype(np.float64)
    work = Work(engine=engine, clock=_untimed, image=picture)
    live = None if engine.info.liveness_model is None else work.liveness(picture, chosen.face).outcome
    return Reading(chosen.face, chosen.count, cpu, short, raw / np.linalg.norm(raw), live)


def _line(name: str, rows: Sequence[tuple[Reading, Reading]]) -> str:
    if not rows:
        return f"{name:<26}{0:>9}"
    both = [(one, two) for one, two in rows if one.face and two.face]
    other = sum(choosing.overlap(one.face.box, two.face.box) <= SAME_FACE for one, two in both if one.face and two.face)
    cosines = [_cosine(one, two) for one, two in both if two.short]
    quantiles = ", ".join(f"{value:.3f}" for value in np.quantile(cosines, (0.5, 0.05, 0.0))) if cosines else "-"
    full, short = (1000 * float(np.median([row[which].cpu for row in rows])) for which in (0, 1))
    ratio = sum(two.cpu for _, two in rows) / sum(one.cpu for one, _ in rows)
    return (
        f"{name:<26}{len(rows):>9}{np.mean([two.short for _, two in rows]):>7.0%}{full:>9.1f}{short:>8.1f}{ratio:>7.2f}"
        f"{sum(one.face is not None for one, _ in rows):>6}"
        f"{sum(bool(one.face and not two.face) for one, two in rows):>6}"
        f"{sum(bool(two.face and not one.face) for one, two in rows):>7}{other:>6}"
        f"{sum(one.count != two.count for one, two in rows):>7}"
        f"{sum(one.liveness != two.liveness for one, two in both):>6}{quantiles:>28}"
    )


def _decisions(
    readings: Mapping[str, Mapping[Path, tuple[Reading, Reading]]], pairs: Sequence[Pair], *, match: float
) -> Iterator[str]:
    """Yield how pairs are decided within each way and across both, over all copies that show the same."""
    ways = {"full with full": (0, 0), "short with short": (1, 1), "full with short": (0, 1)}
    same: list[bool] = []
    scores: dict[str, list[float]] = {way: [] for way in ways}
    for rows in readings.values():
        for pair in pairs:
            ends = [rows[path] for path in (pair.one, pair.two) if path in rows]
            if len(ends) < len((pair.one, pair.two)) or any(not each.face for end in ends for each in end):
                continue
            same.append(pair.same)
            for way, (first, second) in ways.items():
                scores[way].append(_cosine(ends[0][first], ends[1][second]))
    if not same:
        yield "No pair of the table was found in both ways."
        return
    labels, reference = np.array(same, bool), np.array(scores["full with full"]) > match
    yield f"DECISIONS on {len(labels)} pairs of like copies, {int(labels.sum())} of one person"
    yield ""
    yield f"{'embeddings':<24}{'best accuracy':>14}{'at':>8}{f'at {match:g}':>10}{'decided otherwise':>19}"
    for way, values in scores.items():
        similarities = np.array(values)
        limits = np.unique(similarities)
        accuracies = np.array([np.mean((similarities > limit) == labels) for limit in limits])
        best = int(accuracies.argmax())
        yield (
            f"{way:<24}{accuracies[best]:>14.4f}{limits[best]:>8.3f}{np.mean((similarities > match) == labels):>10.4f}"
            f"{int(np.sum((similarities > match) != reference)):>19}"
        )


def _cosine(one: Reading, two: Reading) -> float:
    return float(one.vector @ two.vector)


def _degraded(image: Image, face: Detection, *, kind: Kind) -> Image:
    return degraded(image, face, kind)


def _rotated(image: Image, _: Detection, *, degrees: int) -> Image:
    high, wide = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((wide / 2, high / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (wide, high), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _cropped(image: Image, face: Detection, *, room: float) -> Image | None:
    """The box scaled by `room` about its center."""
    x1, y1, x2, y2 = face.box
    aside, off = (x2 - x1) * (room - 1) / 2, (y2 - y1) * (room - 1) / 2
    part = image[max(0, int(y1 - off)) : int(y2 + off), max(0, int(x1 - aside)) : int(x2 + aside)]
    return np.ascontiguousarray(part) if part.size else None


def _cut(image: Image, face: Detection, *, share: float) -> Image | None:
    """The picture without everything left of this share of the face's width."""
    left = int(face.box[0] + share * (face.box[2] - face.box[0]))
    part = image[:, max(0, left) :]
    return np.ascontiguousarray(part) if part.shape[1] else None


def _distant(image: Image, face: Detection, *, part: int) -> Image | None:
    """The picture inside a larger gray one, so that the face is 1/part as wide as its longer side."""
    side = round((face.box[2] - face.box[0]) * part)
    high, wide = image.shape[:2]
    if side < max(high, wide):
        return None
    canvas = np.full((side, side, 3), GRAY, np.uint8)
    top, left = (side - high) // 2, (side - wide) // 2
    canvas[top : top + high, left : left + wide] = image
    scale = min(1.0, 1600 / side)
    return np.asarray(cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _with_bystander(
    image: Image, face: Detection, *, others: Sequence[tuple[Image, Detection]], share: float
) -> Image | None:
    """The picture, extended to the right by the next person with this share of the face's area."""
    index = next(number for number, (_, each) in enumerate(others) if each is face)
    other, bystander = others[(index + 1) % len(others)]
    part = _cropped(other, bystander, room=1.6)
    if part is None:
        return None
    scale = (share * face.area / bystander.area) ** 0.5
    patch = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    patch = patch[: image.shape[0]]
    extended = np.full((image.shape[0], image.shape[1] + patch.shape[1], 3), GRAY, np.uint8)
    extended[:, : image.shape[1]] = image
    extended[: patch.shape[0], image.shape[1] :] = patch
    return extended


def _whole(pixels: Image) -> Picture:
    high, wide = pixels.shape[:2]
    return Picture(pixels, wide, high)


@contextmanager
def _untimed(_stage: str) -> Iterator[None]:
    yield
