"""Movement of the five landmarks between two images: separates a head from a flat picture of one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.faces import Point

LEAST_SPREAD: Final = 0.05
"""Minimum of twice the area of eyes and a mouth corner, relative to the squared distance from eyes to mouth."""

_Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Motion:
    """Movement between two sets of landmarks. Lengths are in eye distances of the first, at the scale of the second."""

    across: float
    """Distance of the nose from its flat position, parallel to the eyes. Positive: to the right of the image."""
    down: float
    """The same perpendicular to the eyes. Positive: toward the chin."""
    growth: float
    """Relative growth of the face."""
    narrowing: float
    """Change of the ratio of width to height. A flat picture that is turned away narrows too."""


def motion(before: Sequence[Point], after: Sequence[Point]) -> Motion | None:
    """Measure how the nose moved beyond what a flat picture could show.

    Eyes and mouth corners determine a plane projective map (Hartley and Zisserman, Multiple View Geometry, 4.1). The
    nose of a flat picture must follow that map, however the picture is moved, turned, or tilted. A real nose stands
    half an eye distance in front of the plane: at 25 degrees it is 0.2 away from the mapped position.

    Args:
        before: left eye, right eye, nose, left and right mouth corner as seen in the image, in pixels.
        after: the same landmarks in the second image.

    Returns:
        The movement; None for degenerate landmarks, such as a profile view.
    """
    size, new_size = _size(before), _size(after)
    if size is None or new_size is None:
        return None
    expected = _mapped(before, after)
    if expected is None:
        return None
    (width, height), (new_width, new_height) = size, new_size
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
    """Distance of the nose from the midline between the eyes and the mouth corners, in eye distances.

    Positive: to the right of the image. None for degenerate landmarks.
    """
    size = _size(points)
    if size is None:
        return None
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    top, bottom = _middle(left_eye, right_eye), _middle(left_mouth, right_mouth)
    dx, dy = bottom[0] - top[0], bottom[1] - top[1]
    return ((nose[0] - top[0]) * dy - (nose[1] - top[1]) * dx) / (math.hypot(dx, dy) * size[0])


def _size(points: Sequence[Point]) -> tuple[float, float] | None:
    """Eye distance, and distance from the eye center to the mouth center; None if either is zero."""
    left_eye, right_eye, _, left_mouth, right_mouth = points
    width, height = (
        math.dist(left_eye, right_eye),
        math.dist(_middle(left_eye, right_eye), _middle(left_mouth, right_mouth)),
    )
    return (width, height) if min(width, height) > 1e-6 else None  # noqa: PLR2004 - a millionth of a pixel


def _middle(one: Point, other: Point) -> Point:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


def _mapped(before: Sequence[Point], after: Sequence[Point]) -> Point | None:
    """The nose under the plane map of the four outer landmarks."""
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
    """A point as a sum of both eyes and the left mouth corner in homogeneous coordinates (Cramer's rule)."""
    first, second, third = _frame(points)
    point = (of[0], of[1], 1.0)
    whole = _determinant(first, second, third)
    size = _size(points)
    if size is None or abs(whole) < LEAST_SPREAD * size[1] ** 2:
        return None
    shares = (
        _determinant(point, second, third) / whole,
        _determinant(first, point, third) / whole,
        _determinant(first, second, point) / whole,
    )
    return shares if min(map(abs, shares)) > 1e-3 or of is points[2] else None  # noqa: PLR2004 - three points on one line


def _determinant(first: _Vector, second: _Vector, third: _Vector) -> float:
    return (
        first[0] * (second[1] * third[2] - second[2] * third[1])
        - second[0] * (first[1] * third[2] - first[2] * third[1])
        + third[0] * (first[1] * second[2] - first[2] * second[1])
    )
