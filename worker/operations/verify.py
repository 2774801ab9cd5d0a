"""Verify: is the face of the image the one of a reference image or embedding?"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from shared.errors import ErrorCode, JobError
from shared.faces import Embedding, checked_vector
from shared.operations import FaceReason, ReferenceEmbedding, VerifyParams, VerifyResult
from worker.engine.base import EngineInfo
from worker.operations import answers
from worker.operations.choosing import one
from worker.operations.work import Work

Obstacle = Literal["no_face", "multiple_faces", "reference_no_face", "reference_multiple_faces"]
OF_REFERENCE: Final[dict[FaceReason, Obstacle]] = {
    "no_face": "reference_no_face",
    "multiple_faces": "reference_multiple_faces",
}


def verify(params: VerifyParams, work: Work) -> VerifyResult:
    """Compare one face of the image with one face of the reference; both are embedded in one run.

    Raises:
        JobError: the reference embedding is of another contract or length, or there is no reference at all.
    """
    threshold = work.engine.info.thresholds.match if params.threshold is None else params.threshold
    stored = None if work.reference is not None else _checked(params.reference_embedding, work.engine.info)
    probe = one(work.find(work.image, params), work.image, params)
    if probe.face is None:
        return VerifyResult(verified=False, threshold=threshold, reason=probe.reason, num_faces=probe.count)
    picture, found = work.in_detail(work.image, [probe.face])
    face = answers.face(picture, found[0])
    reference_face = None
    crops = work.align(picture, found)
    if work.reference is not None:
        reference = one(work.find(work.reference, params), work.reference, params)
        if reference.face is None:
            reason = OF_REFERENCE[reference.reason]
            return VerifyResult(verified=False, threshold=threshold, reason=reason, num_faces=probe.count, face=face)
        picture, found = work.in_detail(work.reference, [reference.face])
        reference_face = answers.face(picture, found[0])
        crops = np.concatenate([crops, work.align(picture, found)])
    embedding, *others = work.embed(crops)
    similarity = _cosine(embedding, others[0].vector if stored is None else stored)
    verified = similarity > threshold
    return VerifyResult(
        verified=verified,
        similarity=similarity,
        threshold=threshold,
        reason=None if verified else "below_threshold",
        num_faces=probe.count,
        face=face.model_copy(update={"embedding": embedding}),
        reference_face=reference_face,
    )


def _checked(reference: ReferenceEmbedding | None, info: EngineInfo) -> Sequence[float]:
    if reference is None:
        raise JobError(ErrorCode.INVALID_REQUEST, "verify needs a reference image or a reference embedding.")
    if reference.contract is not None and reference.contract != info.contract:
        raise JobError(
            ErrorCode.EMBEDDING_CONTRACT_MISMATCH,
            f"The reference embedding has contract {reference.contract}; this worker's models have {info.contract}.",
        )
    if len(reference.vector) != info.embedding_size:
        raise JobError(
            ErrorCode.INVALID_EMBEDDING,
            f"The reference embedding has {len(reference.vector)} numbers; "
            f"this worker's models give {info.embedding_size}.",
        )
    return checked_vector(reference.vector, name="the reference embedding")


def _cosine(probe: Embedding, other: Sequence[float]) -> float:
    vector = np.asarray(other, dtype=np.float64)
    return float(np.clip(np.dot(probe.vector, vector / np.linalg.norm(vector)), -1.0, 1.0))
