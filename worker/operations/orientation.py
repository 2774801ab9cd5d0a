"""Rotate a picture that is on its side or upside down without a matching EXIF orientation.

The five points reveal a face on its side: their roll is near 90 degrees, whereas a pose model reports -22 or -10. They
do not reveal an upside-down face, because the detector places them as if it were upright. Its embedding does: it
resembles those of unrecognizable faces.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from shared.faces import Embedding
from worker.engine.base import Detection
from worker.engine.five_points import five_point_pose
from worker.images import Picture
from worker.operations.work import Work

TURNS: Final = (90, 180, 270)
MAX_ROLL: Final = 45.0
"""Degrees. Beyond this, another orientation is closer to upright."""

T = TypeVar("T")


def on_its_side(face: Detection) -> bool:
    """Return whether, by the five points, another orientation of the picture is closer to upright."""
    return abs(five_point_pose(face).roll) > MAX_ROLL


def unrecognisable(embedding: Embedding) -> bool:
    """Return whether the pack judges the face unrecognizable; false if it cannot judge."""
    return embedding.recognisability is not None and not embedding.recognisability.recognisable


def best(
    picture: Picture,
    work: Work,
    *,
    look: Callable[[Picture], T],
    face_of: Callable[[T], tuple[Picture, Detection] | None],
) -> tuple[T, Embedding] | None:
    """Try the other three orientations of a picture, and choose the one whose face can be recognised best.

    Args:
        picture: the picture as decoded.
        work: the job.
        look: detects faces in a picture.
        face_of: returns the face from the result of `look` and the picture to read it from, or None.

    Returns:
        The result of `look` in the best orientation and the embedding of its face; None if no orientation has an
        upright, recognizable face.
    """
    candidates: list[tuple[tuple[float, float], T, Embedding]] = []
    for degrees in TURNS:
        sight = look(picture.turned(degrees))
        source = face_of(sight)
        if source is None or on_its_side(source[1]):
            continue
        [embedding] = work.embed(work.align(source[0], [source[1]]), [source[1]])
        if not unrecognisable(embedding):
            candidates.append((_rank(embedding), sight, embedding))
    if not candidates:
        return None
    _, sight, embedding = max(candidates, key=lambda each: each[0])
    return sight, embedding


def _rank(embedding: Embedding) -> tuple[float, float]:
    """Rank by the score of the pack's measure, then by the length, which is largest for upright faces."""
    score = embedding.recognisability.score if embedding.recognisability else None
    return score or 0.0, embedding.length
