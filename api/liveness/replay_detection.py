"""Detects repeated images, and faces that are too still to be live."""

import math
from dataclasses import dataclass
from typing import Final

from shared.faces import Point, Strict
from shared.liveness_sessions import Reason

SAME_BITS: Final = 8
"""Bits of a 256-bit fingerprint that saving an image again as JPEG may change."""
SAME_POINTS: Final = 0.002
"""Maximum landmark movement, in eye distances, when an image is saved again."""
SAME_LENGTH: Final = 0.01
MOVED: Final = 0.05
"""Landmark movement, in eye distances, from which a face counts as moved."""
FROZEN: Final = 0.0002
"""Landmark movement, in eye distances, below which an image is not a new one: sensor noise alone causes more."""
MOST_FROZEN: Final = 3
"""Frozen images in a row that are tolerated: the camera may be slower than the client."""


class Mark(Strict):
    """What is stored to recognize an image that is shown again."""

    picture: str
    """Fingerprint of the whole image: 256 bits as hexadecimal digits."""
    points: list[Point]
    length: float
    """Length of the raw embedding of the face."""
    movement: int = 0
    """Number of times that the face had moved before this image. A person who sits still is not a replay."""


@dataclass(frozen=True, slots=True)
class Recollection:
    """All marks so far, the number of still ones in a row, and what is wrong with the last one."""

    marks: tuple[Mark, ...]
    still: int
    reason: Reason | None = None


def remember(before: Recollection, mark: Mark) -> Recollection:
    """Add a mark. `reason` is set if the image was seen before the face last moved, or if the image is frozen."""
    if not before.marks:
        return Recollection((mark,), 0)
    last = before.marks[-1]
    distance = _distance(last, mark)
    movement = last.movement + int(distance > MOVED)
    still = before.still + 1 if distance <= FROZEN and _alike(last, mark) else 0
    marks = (*before.marks, mark.model_copy(update={"movement": movement}))
    if still > MOST_FROZEN:
        return Recollection(marks, still, Reason.STILL_PICTURE)
    earlier = (old for old in before.marks if old.movement < movement)
    if any(_distance(old, mark) <= SAME_POINTS and _alike(old, mark) for old in earlier):
        return Recollection(marks, still, Reason.REPLAYED_FRAME)
    return Recollection(marks, still)


def _distance(one: Mark, other: Mark) -> float:
    """The largest movement of a landmark, in eye distances."""
    unit = math.dist(one.points[0], one.points[1]) or 1.0
    return max(math.dist(a, b) for a, b in zip(one.points, other.points, strict=True)) / unit


def _alike(one: Mark, other: Mark) -> bool:
    bits = (int(one.picture, 16) ^ int(other.picture, 16)).bit_count()
    return bits <= SAME_BITS and abs(one.length - other.length) <= SAME_LENGTH * one.length
