"""Measure the effect of bystanders and of rotated pictures: which face is chosen, and what is registered."""

from collections.abc import Iterator
from functools import partial
from typing import Final, get_args

import cv2
import numpy as np

from shared.faces import Box, cosine
from shared.operations import RegisterParams, Select
from worker.engine.base import Image
from worker.evaluation.effects_laboratory import Laboratory, Sample, percent, whole
from worker.operations import choosing

GRAY: Final = 127
SAME_FACE: Final = 0.5
"""Overlap, as intersection over union, above which two boxes are the same face."""
SAME_EMBEDDING: Final = 0.9
"""Cosine to the embedding of the upright picture above which a rotated picture was read equally well."""
TURNS: Final = (0, 90, 180, 270)
POLICIES: Final[tuple[Select, ...]] = get_args(Select)
SHARES: Final = {"nobody else": 0.0, "half as wide, at the side": 0.5, "as wide, at the side": 1.0}
"""Width of the other face as a share of the person's; the person stays in the center."""
BESIDE: Final = "two people side by side"


def selection(laboratory: Laboratory) -> Iterator[str]:
    """Yield which face each policy chooses if another person is in the picture."""
    yield f"SELECTION in {len(laboratory.samples)} pictures with another person; right: the labelled person was chosen"
    yield ""
    yield f"{'the other face':<28}" + "".join(f"{policy:>20}" for policy in POLICIES)
    yield f"{'':<28}" + "".join(f"{'chosen':>12}{'right':>8}" for _ in POLICIES)
    indices = range(len(laboratory.samples))
    for name in (*SHARES, BESIDE):
        pictures = laboratory.each(partial(_choices, laboratory, name), indices)
        yield f"{name:<28}" + "".join(
            f"{percent(np.array([choice is not None for choice in choices])):>12}"
            f"{percent(np.array([choice is True for choice in choices])):>8}"
            for choices in zip(*pictures, strict=True)
        )


def orientation(laboratory: Laboratory) -> Iterator[str]:
    """Yield how pictures register that arrive on their side or upside down."""
    yield f"ORIENTATION of {len(laboratory.samples)} pictures, registered without quality gates and liveness"
    yield ""
    yield f"{'delivered':<16}{'without auto_orient':>28}{'auto_orient':>28}"
    yield f"{'':<16}" + f"{'as upright':>16}{'otherwise':>12}" * 2
    for degrees in TURNS:
        cells = ""
        for auto_orient in (False, True):
            registered = laboratory.each(partial(_turned, laboratory, degrees, auto_orient), laboratory.samples)
            right = np.array([similarity is not None and similarity > SAME_EMBEDDING for similarity in registered])
            wrong = np.array([similarity is not None and similarity <= SAME_EMBEDDING for similarity in registered])
            cells += f"{percent(right):>16}{percent(wrong):>12}"
        yield f"{f'{degrees} degrees':<16}{cells}"
    yield ""
    yield f"As upright: registered with a cosine above {SAME_EMBEDDING:g} to the embedding of the upright picture."


def _choices(laboratory: Laboratory, name: str, index: int) -> list[bool | None]:
    """Return, for each policy, whether the labelled face is chosen; None if no face is."""
    sample = laboratory.samples[index]
    other = laboratory.samples[(index + 1) % len(laboratory.samples)]
    image, box = _beside(sample, other) if name == BESIDE else _with_bystander(sample, other, share=SHARES[name])
    found, picture = laboratory.engine.detect(image), whole(image)
    params = [laboratory.params.model_copy(update={"select": policy}) for policy in POLICIES]
    chosen = [choosing.one(found, picture, each).face for each in params]
    return [None if face is None else choosing.overlap(face.box, box) > SAME_FACE for face in chosen]


def _with_bystander(sample: Sample, other: Sample, *, share: float) -> tuple[Image, Box]:
    """Place the person in the center of a picture three times as wide, and the other face in its right third."""
    high, wide = sample.copy.shape[:2]
    image = np.full((high, 3 * wide, 3), GRAY, np.uint8)
    image[:, wide : 2 * wide] = sample.copy
    if share:
        patch = _sized(other, share * _width(sample))[:high, :wide]
        image[: patch.shape[0], 3 * wide - patch.shape[1] :] = patch
    return image, _shifted(sample.face.box, wide)


def _beside(sample: Sample, other: Sample) -> tuple[Image, Box]:
    """Place both people side by side, with faces of the same width."""
    patch = _sized(other, _width(sample))
    high = max(patch.shape[0], sample.copy.shape[0])
    parts = [
        cv2.copyMakeBorder(part, 0, high - part.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=(GRAY,) * 3)
        for part in (sample.copy, patch)
    ]
    return np.ascontiguousarray(np.hstack(parts), np.uint8), sample.face.box


def _sized(sample: Sample, width: float) -> Image:
    """Resize a working copy so that its face has this width in pixels."""
    scale = width / _width(sample)
    return np.asarray(cv2.resize(sample.copy, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _width(sample: Sample) -> float:
    return sample.face.box[2] - sample.face.box[0]


def _shifted(box: Box, across: float) -> Box:
    x1, y1, x2, y2 = box
    return x1 + across, y1, x2 + across, y2


def _turned(laboratory: Laboratory, degrees: int, auto_orient: bool, sample: Sample) -> float | None:  # noqa: FBT001 - given by partial
    """Return the cosine of the registered embedding to the upright one; None if the picture is refused."""
    upright = laboratory.embedding(whole(sample.copy))
    params = RegisterParams(
        **{**laboratory.params.model_dump(), "auto_orient": auto_orient}, quality="off", skip_liveness=True
    )
    result = laboratory.register(whole(np.ascontiguousarray(np.rot90(sample.copy, -degrees // 90))), params)
    if upright is None or result.embedding is None:
        return None
    return cosine(upright.vector, result.embedding.vector)
