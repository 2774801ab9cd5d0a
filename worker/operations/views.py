"""Choose the pixels for liveness so that the outcome does not depend on how a picture was decoded.

A liveness score changes with the box and with every pixel of its crop. A job that decodes a photograph at full size
(`full_size`, and every classic call) therefore reads liveness at the reduced size that other jobs use.
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
    """Return these faces as a job without `full_size` sees them, in order.

    This costs nothing unless `full_size` was set for a photograph that is normally reduced; then the photograph is
    decoded and searched again. A face that is not detected again keeps its view. A face that is too small to judge at
    the reduced size is viewed in the whole picture, which may be `detailed` (`Work.in_detail`).
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
    """Return the candidate in `picture` that is the same face, or the unchanged view if there is none."""
    box = answers.enlarged(view.picture, view.face).box
    overlaps = [(choosing.overlap(box, answers.enlarged(picture, each).box), each) for each in candidates]
    best, face = max(overlaps, key=lambda pair: pair[0], default=(0.0, view.face))
    return View(picture, face) if best > SAME_FACE else view
