"""Turns a picture that is on its side or upside down without an EXIF orientation that says so.

The five points tell a face on its side: their roll is near 90 degrees, where a pose model reads -22 or -10. They do not
tell a face that is upside down, because the detector invents them upright there. Its embedding does: it resembles those
of faces that cannot be recognised.
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
"""Degrees. Beyond, another orientation is nearer to upright."""

T = TypeVar("T")


def on_its_side(face: Detection) -> bool:
    """Whether the five points say that the head is nearer to another orientation of the picture."""
    return abs(five_point_pose(face).roll) > MAX_ROLL


def unrecognisable(embedding: Embedding) -> bool:
    """Whether the embedding is of a face that cannot be recognised, as far as the pack can tell."""
    return embedding.recognisability is not None and not embedding.recognisability.recognisable


def best(
    picture: Picture,
    work: Work,
    *,
    look: Callable[[Picture], T],
    face_of: Callable[[T], tuple[Picture, Detection] | None],
) -> tuple[T, Embedding] | None:
    """Look at the other three orientations of a picture, and take the one whose face can be recognised best.

    Args:
        picture: as it was read.
        work: the job.
        look: finds faces in a picture.
        face_of: the face that `look` found and what to read it from, or None.

    Returns:
        What `look` found in the best orientation, and the embedding of its face; None where no orientation shows an
        upright face that can be recognised.
    """
    seen: list[tuple[tuple[float, float], T, Embedding]] = []
    for degrees in TURNS:
        sight = look(picture.turned(degrees))
        found = face_of(sight)
        if found is None or on_its_side(found[1]):
            continue
        [embedding] = work.embed(work.align(found[0], [found[1]]), [found[1]])
        if not unrecognisable(embedding):
            seen.append((_rank(embedding), sight, embedding))
    if not seen:
        return None
    _, sight, embedding = max(seen, key=lambda each: each[0])
    return sight, embedding


def _rank(embedding: Embedding) -> tuple[float, float]:
    """By the pack's measure; without one by the length, which upright faces have most of."""
    score = embedding.recognisability.score if embedding.recognisability else None
    return score or 0.0, embedding.length
