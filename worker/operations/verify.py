"""Verify: is the face of the image the one of a reference image or embedding?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from shared.errors import ErrorCode, JobError
from shared.faces import Face
from shared.operations import FaceReason, ReferenceEmbedding, ThresholdFrom, VerifyParams, VerifyResult
from worker.engine.base import EngineInfo
from worker.operations import answers, comparing
from worker.operations.choosing import one
from worker.operations.work import Work

Obstacle = Literal["no_face", "multiple_faces", "reference_no_face", "reference_multiple_faces"]
OF_REFERENCE: Final[dict[FaceReason, Obstacle]] = {
    "no_face": "reference_no_face",
    "multiple_faces": "reference_multiple_faces",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """What the cosine of a match must be above, which rule gave it, and what it costs."""

    threshold: float
    given_by: ThresholdFrom
    estimated_fmr: float | None


def match_limit(params: VerifyParams, info: EngineInfo, *, setting: float | None) -> Limit:
    """The limit in force: the job's own, that of its false-match rate, the operator's, or the pack's.

    Raises:
        JobError: `calibration_unavailable` where the job names a rate and none was measured for this contract;
            `fmr_out_of_range` where it is outside of those that were.
    """
    table = info.calibration
    if params.fmr is not None:
        if table is None:
            raise JobError(
                ErrorCode.CALIBRATION_UNAVAILABLE,
                f"The model pack {info.pack} has no false-match rates that were measured for {info.contract}.",
            )
        return Limit(table.threshold_for(params.fmr), "fmr", params.fmr)
    rules: tuple[tuple[float | None, ThresholdFrom], ...] = ((params.threshold, "request"), (setting, "setting"))
    threshold, given_by = next(
        ((value, rule) for value, rule in rules if value is not None), (info.thresholds.match, "pack")
    )
    return Limit(threshold, given_by, None if table is None else table.fmr_at(threshold))


def verify(params: VerifyParams, work: Work) -> VerifyResult:
    """Compare one face of the image with one face of the reference; both are embedded in one run.

    Raises:
        JobError: the reference embedding is of another contract or length, or there is no reference at all.
    """
    limit = match_limit(params, work.engine.info, setting=work.verify_threshold)
    stored = None if work.reference is not None else _stored(params.reference_embedding, work.engine.info)
    probe = one(work.find(work.image, params), work.image, params)
    if probe.face is None:
        return _answer(limit, reason=probe.reason, num_faces=probe.count)
    picture, found = work.in_detail(work.image, [probe.face])
    faces = list(found)
    face = answers.face(picture, found[0])
    reference_face = None
    crops = work.align(picture, found)
    if work.reference is not None:
        reference = one(work.find(work.reference, params), work.reference, params)
        if reference.face is None:
            reason = OF_REFERENCE[reference.reason]
            return _answer(limit, reason=reason, num_faces=probe.count, face=face)
        picture, found = work.in_detail(work.reference, [reference.face])
        reference_face = answers.face(picture, found[0])
        crops = np.concatenate([crops, work.align(picture, found)])
        faces += found
    embedding, *others = work.embed(crops, faces)
    similarity = comparing.cosine(embedding, others[0].vector if stored is None else stored)
    return _answer(
        limit,
        similarity=similarity,
        reason=None if similarity > limit.threshold else "below_threshold",
        num_faces=probe.count,
        face=face.model_copy(update={"embedding": embedding}),
        reference_face=reference_face,
    )


def _answer(
    limit: Limit,
    *,
    reason: Obstacle | Literal["below_threshold"] | None,
    num_faces: int,
    similarity: float | None = None,
    face: Face | None = None,
    reference_face: Face | None = None,
) -> VerifyResult:
    """Verified is where nothing stood in the way."""
    return VerifyResult(
        verified=reason is None,
        similarity=similarity,
        threshold=limit.threshold,
        threshold_from=limit.given_by,
        estimated_fmr=limit.estimated_fmr,
        reason=reason,
        num_faces=num_faces,
        face=face,
        reference_face=reference_face,
    )


def _stored(reference: ReferenceEmbedding | None, info: EngineInfo) -> Sequence[float]:
    if reference is None:
        raise JobError(ErrorCode.INVALID_REQUEST, "verify needs a reference image or a reference embedding.")
    return comparing.checked(reference, info, name="The reference embedding")
