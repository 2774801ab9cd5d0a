"""Liveness: is the one face of the image in front of the camera?"""

from shared.faces import Liveness
from shared.operations import LivenessParams, LivenessResult
from worker.operations import answers, person
from worker.operations.work import Work


def liveness(params: LivenessParams, work: Work) -> LivenessResult:
    """Read the passive liveness of the one face; nothing is read if it is not clear which face is meant.

    Raises:
        JobError: `liveness_unavailable` where the pack has no liveness model.
    """
    subject = person.find(work.image, params, work)
    if subject.face is None:
        reading = Liveness(outcome="not_evaluated", reason=subject.reason)
        face = None
    else:
        reading = work.liveness(subject.picture, subject.face, threshold=params.threshold)
        face = answers.face(subject.picture, subject.face, liveness=reading, clamp=params.clamp_boxes)
    return LivenessResult(
        liveness=reading,
        reason=subject.reason,
        num_faces=subject.count,
        face=face,
        other_faces=subject.others,
    )
