"""The liveness operation: judge whether the face is a live person in front of the camera."""

from shared.operations import LivenessParams
from shared.results import LivenessResult
from worker.operations import answers, person
from worker.operations.work import Work


def liveness(params: LivenessParams, work: Work) -> LivenessResult:
    """Read the passive liveness of the face; skip it if the intended face is ambiguous.

    With `auto_orient`, a face that is not live is embedded to determine whether it is upside down.

    Raises:
        JobError: `liveness_unavailable` if the pack has no liveness model.
    """
    subject = person.find(work.image, params, work)
    reading = person.liveness(subject, params, work, threshold=params.threshold)
    measured = work.engine.info.recognisability.limits is not None
    if params.auto_orient and measured and subject.face and not subject.oriented and reading.outcome != "live":
        [(turned, _)] = person.embed([subject], params, work)
        if turned.image is not subject.image:
            subject, reading = turned, person.liveness(turned, params, work, threshold=params.threshold)
    face = None
    if subject.face is not None:
        face = answers.face(subject.picture, subject.face, liveness=reading, clamp=params.clamp_boxes)
    return LivenessResult(
        liveness=reading,
        reason=subject.reason,
        num_faces=subject.count,
        face=face,
        other_faces=subject.others,
        orientation=subject.image.turn,
    )
