"""Find the person that an operation applies to, upright, and the picture to read the face from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shared.faces import Embedding, Liveness
from shared.operations import OneFaceParams
from shared.results import FaceReason, OtherFace
from worker.engine.base import Detection
from worker.images import Picture
from worker.operations import answers, choosing, orientation, views
from worker.operations.work import Work


@dataclass(frozen=True, slots=True)
class Person:
    """The face of the person in a picture, or why none was chosen."""

    image: Picture
    """The picture that was searched, rotated if necessary to read the face."""
    detection: Detection | None
    """In pixels of `image`."""
    picture: Picture
    """The picture to read the face from."""
    face: Detection | None
    """In pixels of `picture`."""
    reason: FaceReason | None
    """Why there is no face; None if there is one."""
    count: int
    """Faces that were counted, before one was chosen."""
    candidates: int
    """Counted faces that may be the person; more than one is ambiguous."""
    others: list[OtherFace]
    """The most prominent of the other faces, for the result."""
    embedding: Embedding | None = None
    """Set if it was computed to find the orientation."""
    oriented: bool = False
    """Whether the other orientations were tried."""


def find(picture: Picture, params: OneFaceParams, work: Work) -> Person:
    """Detect the faces of a picture and choose the person.

    With `auto_orient`, the other orientations are tried if no face is found, or if the face is on its side.
    """
    person = _find(picture, params, work)
    if params.auto_orient and (not person.count or (person.face and orientation.on_its_side(person.face))):
        return _oriented(person, params, work)
    return person


def embed(persons: Sequence[Person], params: OneFaceParams, work: Work) -> list[tuple[Person, Embedding]]:
    """Embed the persons that have a face, in one model run.

    With `auto_orient`, a picture whose face cannot be recognised is tried in the other orientations; the returned
    person then refers to the rotated picture.
    """
    pending = [(person.picture, person.face) for person in persons if person.embedding is None and person.face]
    crops = [work.align(picture, [face]) for picture, face in pending]
    computed = iter(work.embed(np.concatenate(crops), [face for _, face in pending]) if crops else [])
    embedded = [(person, person.embedding or next(computed)) for person in persons if person.face]
    return [_reconsidered(person, embedding, params, work) for person, embedding in embedded]


def liveness(person: Person, params: OneFaceParams, work: Work, *, threshold: float | None = None) -> Liveness:
    """Read the person's liveness; not evaluated if no face was chosen."""
    if person.detection is None:
        return Liveness(outcome="not_evaluated", reason=person.reason)
    [view] = views.usual(person.image, [person.detection], params, work, detailed=person.picture)
    return work.liveness(view.picture, view.face, threshold=threshold)


def _find(picture: Picture, params: OneFaceParams, work: Work) -> Person:
    chosen = choosing.one(work.find(picture, params), picture, params)
    others = answers.others(picture, chosen.others, clamp=params.clamp_boxes)
    if chosen.face is None:
        return Person(picture, None, picture, None, chosen.reason, chosen.count, chosen.candidates, others)
    detailed, [face] = work.in_detail(picture, [chosen.face])
    return Person(picture, chosen.face, detailed, face, None, chosen.count, chosen.candidates, others)


def _reconsidered(person: Person, embedding: Embedding, params: OneFaceParams, work: Work) -> tuple[Person, Embedding]:
    if not params.auto_orient or person.oriented or not orientation.unrecognisable(embedding):
        return person, embedding
    turned = _oriented(person, params, work)
    return turned, turned.embedding or embedding


def _oriented(person: Person, params: OneFaceParams, work: Work) -> Person:
    """Return the person in the best of the other orientations, or unchanged if none is better."""
    best = orientation.best(
        person.image,
        work,
        look=lambda picture: _find(picture, params, work),
        face_of=lambda other: None if other.face is None else (other.picture, other.face),
    )
    if best is None:
        return replace(person, oriented=True)
    turned, embedding = best
    return replace(turned, embedding=embedding, oriented=True)
