"""Liveness: is the one face of the image in front of the camera?"""

from shared.faces import Liveness
from shared.operations import LivenessParams, LivenessResult
from worker.operations import answers
from worker.operations.choosing import one
from worker.operations.work import Work


def liveness(params: LivenessParams, work: Work) -> LivenessResult:
    """Read the passive liveness of the one face; nothing is read where it is not clear which face is meant.

    Raises:
        JobError: `liveness_unavailable` where the pack has no liveness model.
    """
    chosen = one(work.find(work.image, params), work.image, params)
    if chosen.face is None:
        reading = Liveness(outcome="not_evaluated", reason=chosen.reason)
        return LivenessResult(liveness=reading, reason=chosen.reason, num_faces=chosen.count)
    picture, [face] = work.in_detail(work.image, [chosen.face])
    reading = work.liveness(picture, face, threshold=params.threshold)
    return LivenessResult(
        liveness=reading, reason=None, num_faces=chosen.count, face=answers.face(picture, face, liveness=reading)
    )
