"""Finds the one person that an operation is about, and what to read the face from."""

from dataclasses import dataclass

from shared.faces import Liveness
from shared.operations import FaceReason, OneFaceParams, OtherFace
from worker.engine.base import Detection
from worker.images import Picture
from worker.operations import answers, choosing, views
from worker.operations.work import Work


@dataclass(frozen=True, slots=True)
class Person:
    """The face of the person in a picture, or why none was chosen."""

    image: Picture
    """As it was searched."""
    detection: Detection | None
    """In the pixels of `image`."""
    picture: Picture
    """What to read the face from."""
    face: Detection | None
    """In the pixels of `picture`."""
    reason: FaceReason | None
    """Why there is no face; None if there is one."""
    count: int
    """Faces that were counted, before one was chosen."""
    candidates: int
    """Counted faces that may be the person; more than one is ambiguous."""
    others: list[OtherFace]
    """The most prominent of the other faces, for the result."""


def find(picture: Picture, params: OneFaceParams, work: Work) -> Person:
    """Detect the faces of a picture and choose the person."""
    chosen = choosing.one(work.find(picture, params), picture, params)
    others = answers.others(picture, chosen.others, clamp=params.clamp_boxes)
    if chosen.face is None:
        return Person(picture, None, picture, None, chosen.reason, chosen.count, chosen.candidates, others)
    detailed, [face] = work.in_detail(picture, [chosen.face])
    return Person(picture, chosen.face, detailed, face, None, chosen.count, chosen.candidates, others)


def liveness(subject: Person, params: OneFaceParams, work: Work, *, threshold: float | None = None) -> Liveness:
    """Read the person's liveness; not evaluated if no face was chosen."""
    if subject.detection is None:
        return Liveness(outcome="not_evaluated", reason=subject.reason)
    [view] = views.usual(subject.image, [subject.detection], params, work, detailed=subject.picture)
    return work.liveness(view.picture, view.face, threshold=threshold)
