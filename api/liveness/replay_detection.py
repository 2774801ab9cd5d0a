"""Recognises pictures that were shown before, and faces that stand still as no person can."""

import math
from dataclasses import dataclass
from typing import Final

from shared.faces import Point, Strict
from shared.liveness_sessions import Reason

SAME_BITS: Final = 8
"""Of 256 in a picture's fingerprint: as many as saving it again as a JPEG changes."""
SAME_POINTS: Final = 0.002
"""Share of the eyes' distance within which all five points of a picture lie that was saved again."""
SAME_LENGTH: Final = 0.01
MOVED: Final = 0.05
"""Share of the eyes' distance by which a face has moved at all."""
FROZEN: Final = 0.0002
"""A point that moves less between two pictures was not taken anew: a sensor's noise alone moves it more."""
MOST_FROZEN: Final = 3
"""So many frozen pictures in a row may come of a camera that is slower than its reader."""


class Mark(Strict):
    """What is remembered of a picture, to know it again."""

    picture: str
    """Fingerprint of the whole picture, 256 bits as hexadecimal digits."""
    points: list[Point]
    length: float
    """Length of the face's raw embedding."""
    movement: int = 0
    """How often the face had moved before it: a person who sits still is no replay."""


@dataclass(frozen=True, slots=True)
class Recollection:
    """All marks so far, how many in a row stood still, and what is wrong with the last one."""

    marks: tuple[Mark, ...]
    still: int
    reason: Reason | None = None


def remember(before: Recollection, mark: Mark) -> Recollection:
    """The marks with one more; `reason` where it was seen before the face last moved, or the picture is frozen."""
    if not before.marks:
        return Recollection((mark,), 0)
    last = before.marks[-1]
    way = _way(last, mark)
    movement = last.movement + int(way > MOVED)
    still = before.still + 1 if way <= FROZEN and _alike(last, mark) else 0
    marks = (*before.marks, mark.model_copy(update={"movement": movement}))
    if still > MOST_FROZEN:
        return Recollection(marks, still, Reason.STILL_PICTURE)
    earlier = (old for old in before.marks if old.movement < movement)
    if any(_way(old, mark) <= SAME_POINTS and _alike(old, mark) for old in earlier):
        return Recollection(marks, still, Reason.REPLAYED_FRAME)
    return Recollection(marks, still)


def _way(one: Mark, other: Mark) -> float:
    """The longest way of one of the five points, in distances of the eyes."""
    unit = math.dist(one.points[0], one.points[1]) or 1.0
    return max(math.dist(a, b) for a, b in zip(one.points, other.points, strict=True)) / unit


def _alike(one: Mark, other: Mark) -> bool:
    bits = (int(one.picture, 16) ^ int(other.picture, 16)).bit_count()
    return bits <= SAME_BITS and abs(one.length - other.length) <= SAME_LENGTH * one.length
