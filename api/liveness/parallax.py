"""How the five points of a face moved between two pictures: what a flat one can do too, and what only a head can."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.faces import Point

LEAST_SPREAD: Final = 0.05
"""Twice the area between eyes and a mouth corner, by the squared way from eyes to mouth: below, nothing is read."""

_Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Motion:
    """The way from five points to five others. Lengths are in distances of the first's eyes at the second's scale."""

    across: float
    """How far the nose left the plane of eyes and mouth along the eyes; above zero to the picture's right."""
    down: float
    """The same along the face, above zero towards the chin."""
    growth: float
    """How much larger the face is."""
    narrowing: float
    """Its width by its height, as a share of what that was: a picture that is turned away narrows too."""


def motion(before: Sequence[Point], after: Sequence[Point]) -> Motion | None:
    """What became of the nose, once everything that a flat picture can do is taken away.

    Eyes and mouth corners fix a plane projective map (Hartley and Zisserman, Multiple View Geometry, 4.1): where it
    puts the nose is where the nose of any flat picture must be, however that is moved, turned, tilted or bent to the
    lens. A real nose stands half a distance of the eyes in front of that plane: at 25 degrees it is 0.2 beside it.

    Args:
        before: picture-left eye, right eye, nose, left and right mouth corner, in pixels.
        after: the same of the other picture.

    Returns:
        None where the points lie so that nothing can be said, such as in profile.
    """
    size, other = _size(before), _size(after)
    if size is None or other is None:
        return None
    expected = _mapped(before, after)
    if expected is None:
        return None
    (width, height), (new_width, new_height) = size, other
    growth = max(new_width / width, new_height / height)
    unit = width * growth
    (x1, y1), (x2, y2), nose, _, _ = after
    along = ((x2 - x1) / new_width, (y2 - y1) / new_width)
    aside, ahead = nose[0] - expected[0], nose[1] - expected[1]
    return Motion(
        across=(aside * along[0] + ahead * along[1]) / unit,
        down=(ahead * along[0] - aside * along[1]) / unit,
        growth=growth,
        narrowing=(new_width / width) / (new_height / height),
    )


def nose_offset(points: Sequence[Point]) -> float | None:
    """How far the nose is beside the line from between the eyes to between the mouth corners, in distances of the eyes.

    Above zero: to the picture's right. None where the points lie so that nothing can be said.
    """
    size = _size(points)
    if size is None:
        return None
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    top, bottom = _middle(left_eye, right_eye), _middle(left_mouth, right_mouth)
    long, high = bottom[0] - top[0], bottom[1] - top[1]
    return ((nose[0] - top[0]) * high - (nose[1] - top[1]) * long) / (math.hypot(long, high) * size[0])


def _size(points: Sequence[Point]) -> tuple[float, float] | None:
    """Distance of the eyes, and from between them to between the mouth corners; None for points without an extent."""
    left_eye, right_eye, _, left_mouth, right_mouth = points
    width, height = (
        math.dist(left_eye, right_eye),
        math.dist(_middle(left_eye, right_eye), _middle(left_mouth, right_mouth)),
    )
    return (width, height) if min(width, height) > 1e-6 else None  # noqa: PLR2004 - a millionth of a pixel


def _middle(one: Point, other: Point) -> Point:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


def _mapped(before: Sequence[Point], after: Sequence[Point]) -> Point | None:
    """Where the plane map of the four outer points puts the nose."""
    nose = _shares(before, before[2])
    corner, new_corner = _shares(before, before[4]), _shares(after, after[4])
    if nose is None or corner is None or new_corner is None:
        return None
    weights = [part * new / old for part, new, old in zip(nose, new_corner, corner, strict=True)]
    x, y, z = (
        sum(weight * place[axis] for weight, place in zip(weights, _frame(after), strict=True)) for axis in range(3)
    )
    return (x / z, y / z) if abs(z) > 1e-9 else None  # noqa: PLR2004 - at infinity


def _frame(points: Sequence[Point]) -> tuple[_Vector, _Vector, _Vector]:
    (a, b), (c, d), _, (e, f), _ = points
    return (a, b, 1.0), (c, d, 1.0), (e, f, 1.0)


def _shares(points: Sequence[Point], of: Point) -> _Vector | None:
    """A point as a sum of both eyes and the left mouth corner, all with a third coordinate of 1 (Cramer's rule)."""
    first, second, third = _frame(points)
    wanted = (of[0], of[1], 1.0)
    whole = _determinant(first, second, third)
    size = _size(points)
    if size is None or abs(whole) < LEAST_SPREAD * size[1] ** 2:
        return None
    shares = (
        _determinant(wanted, second, third) / whole,
        _determinant(first, wanted, third) / whole,
        _determinant(first, second, wanted) / whole,
    )
    return shares if min(map(abs, shares)) > 1e-3 or of is points[2] else None  # noqa: PLR2004 - three in one line


def _determinant(first: _Vector, second: _Vector, third: _Vector) -> float:
    return (
        first[0] * (second[1] * third[2] - second[2] * third[1])
        - second[0] * (first[1] * third[2] - first[2] * third[1])
        + third[0] * (first[1] * second[2] - first[2] * second[1])
    )
