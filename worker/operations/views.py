"""Chooses the pixels that liveness is read from, so that the outcome does not depend on how a picture was decoded.

A liveness score moves with the box and with every pixel of its crop. A job that reads a photograph whole (`full_size`,
and every classic call) therefore reads liveness from the fraction that other jobs read.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from shared.operations import FindParams
from worker.engine.align import SIZE
from worker.engine.base import Detection
from worker.images import Picture
from worker.operations import answers, choosing
from worker.operations.work import Work, usual_side

SAME_FACE: Final = 0.5
"""Overlap, as intersection over union, above which two boxes are the same face."""


class View(NamedTuple):
    """A picture, and where a face is in its pixels."""

    picture: Picture
    face: Detection


def usual(
    picture: Picture, faces: Sequence[Detection], params: FindParams, work: Work, *, detailed: Picture
) -> list[View]:
    """These faces as a job without `full_size` sees them, in their order.

    Costs nothing unless `full_size` was set for a photograph that would have been read at a fraction: then it is
    decoded and searched again. A face that is not found there is seen as it was found; one that is too small to be
    judged there is seen in the whole picture, which `detailed` may be (`Work.in_detail`).
    """
    if not faces:
        return []
    found = [View(picture, face) for face in faces]
    smaller = picture.at(usual_side(params, work.engine.info)) if params.full_size else picture
    if smaller is not picture:
        candidates = work.find(smaller, params)
        found = [_match(view, smaller, candidates) for view in found]
    if not any(view.picture.reduced and choosing.shorter_side(view.face) < SIZE for view in found):
        return found
    whole = picture.whole() if detailed.reduced else detailed
    return [
        View(whole, answers.enlarged(view.picture, view.face)) if choosing.shorter_side(view.face) < SIZE else view
        for view in found
    ]


def _match(view: View, picture: Picture, candidates: Sequence[Detection]) -> View:
    """The candidate in `picture` that is the same face; the view as it is if there is none."""
    box = answers.enlarged(view.picture, view.face).box
    overlaps = [(choosing.overlap(box, answers.enlarged(picture, each).box), each) for each in candidates]
    best, face = max(overlaps, key=lambda pair: pair[0], default=(0.0, view.face))
    return View(picture, face) if best > SAME_FACE else view
