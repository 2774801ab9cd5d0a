"""The six operations on decoded images: which faces count, what is computed for them, what the answer says."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar

import numpy as np

from shared.errors import ErrorCode, JobError
from shared.faces import Check, Embedding, Face, Liveness, Quality, checked_vector
from shared.operations import (
    FacesResult,
    FindParams,
    ImageInfo,
    LivenessParams,
    LivenessResult,
    OneFaceParams,
    Operation,
    RegisterParams,
    RegisterResult,
    VerifyParams,
    VerifyResult,
)
from worker.engine.base import Detection, Engine, EngineInfo, Image
from worker.engine.quality import measure

Stage = Literal["detect", "embed", "liveness"]
P = TypeVar("P", bound=FindParams)
Result = FacesResult | VerifyResult | LivenessResult | RegisterResult

MIN_FACE_WIDTH: Final = 60.0
"""Pixels. Embeddings keep 0.97 of their similarity at 60 and 0.93 at 40 (docs/models.md)."""
MIN_SHARPNESS: Final = 60.0
"""Variance of the Laplacian at 128x128: a blurred portrait reads 18, every other measured one 107 and up."""
BRIGHTNESS: Final = (50.0, 215.0)
"""Mean grey: good portraits read 100-165."""

ADVICE: Final[dict[str, str]] = {
    "one_face": "Make sure that exactly one face is visible.",
    "detection_score": "Improve the light and face the camera.",
    "face_width": "Come closer to the camera.",
    "sharpness": "Hold still and let the camera focus.",
    "brightness": "Move to even light, neither dark nor dazzling.",
    "liveness": "Use a live camera, not a picture of a picture.",
}


class Clock(Protocol):
    """Times one stage of a job."""

    def __call__(self, stage: Stage, /) -> AbstractContextManager[None]:
        """Add the time of the block to this stage."""


@dataclass(frozen=True, slots=True)
class Work:
    """One decoded job: the images upright, and the means to analyse them."""

    engine: Engine
    clock: Clock
    image: Image
    reference: Image | None = None

    def find(self, image: Image, params: FindParams) -> list[Detection]:
        """The faces of one image, the largest first, at most `max_faces`."""
        with self.clock("detect"):
            return self.engine.detect(image, threshold=params.det_threshold)[: params.max_faces]

    def embed(self, image: Image, faces: Sequence[Detection]) -> list[Embedding]:
        """One embedding for each face, in their order."""
        if not faces:
            return []
        with self.clock("embed"):
            raw = self.engine.embed(image, faces)
        lengths = np.linalg.norm(raw, axis=1)
        return [
            Embedding(vector=(row / length).tolist(), length=float(length), contract=self.engine.info.contract)
            for row, length in zip(raw.astype(np.float64), lengths, strict=True)
        ]

    def liveness(self, image: Image, face: Detection, *, threshold: float | None = None) -> Liveness:
        """The tri-state reading: at or above the limit live, below the pack's spoof limit spoof, else uncertain."""
        limits = self.engine.info.thresholds
        live = limits.live if threshold is None else threshold
        with self.clock("liveness"):
            score = self.engine.liveness(image, face)
        outcome: Literal["live", "spoof", "uncertain"] = "uncertain"
        if score >= live:
            outcome = "live"
        elif score < min(limits.spoof, live):
            outcome = "spoof"
        return Liveness(outcome=outcome, score=score, threshold=live, model=self.engine.info.liveness_model)


def run(operation: Operation, params: FindParams, work: Work) -> Result:
    """Do one operation.

    Raises:
        JobError: the job cannot be done as asked: another embedding contract, no liveness model, a failing model.
    """
    return OPERATIONS[operation](params, work)


def _detect(params: FindParams, work: Work) -> FacesResult:
    found = work.find(work.image, params)
    return _faces(work, [_face(work.image, face) for face in found])


def _embed(params: FindParams, work: Work) -> FacesResult:
    found = work.find(work.image, params)
    vectors = work.embed(work.image, found)
    return _faces(work, [_face(work.image, f, embedding=v) for f, v in zip(found, vectors, strict=True)])


def _analyze(params: FindParams, work: Work) -> FacesResult:
    found = work.find(work.image, params)
    vectors = work.embed(work.image, found)
    has_liveness = work.engine.info.liveness_model is not None
    readings = [
        work.liveness(work.image, face)
        if has_liveness
        else Liveness(outcome="not_evaluated", reason="the pack has no liveness model")
        for face in found
    ]
    return _faces(
        work,
        [_face(work.image, f, embedding=v, liveness=live) for f, v, live in zip(found, vectors, readings, strict=True)],
    )


def _verify(params: FindParams, work: Work) -> VerifyResult:
    asked = _as(VerifyParams, params)
    info = work.engine.info
    threshold = info.thresholds.match if asked.threshold is None else asked.threshold
    if asked.reference_embedding is not None:
        _check_reference(asked.reference_embedding.vector, asked.reference_embedding.contract, info)
    probes = _counted(work.find(work.image, asked), asked)
    face = _face(work.image, probes[0]) if len(probes) == 1 else None

    def no(
        reason: Literal["no_face", "multiple_faces", "reference_no_face", "reference_multiple_faces"],
    ) -> VerifyResult:
        return VerifyResult(verified=False, threshold=threshold, reason=reason, num_faces=len(probes), face=face)

    if face is None:
        return no("multiple_faces" if probes else "no_face")
    reference_face = None
    if work.reference is not None:
        references = _counted(work.find(work.reference, asked), asked)
        if len(references) != 1:
            return no("reference_multiple_faces" if references else "reference_no_face")
        reference_face = _face(work.reference, references[0])
        other = np.asarray(work.embed(work.reference, references)[0].vector)
    elif asked.reference_embedding is not None:
        other = np.asarray(asked.reference_embedding.vector, dtype=np.float64)
        other /= np.linalg.norm(other)
    else:
        raise JobError(ErrorCode.INVALID_REQUEST, "verify needs a reference image or a reference embedding.")
    probe = work.embed(work.image, probes)[0]
    similarity = float(np.clip(np.dot(probe.vector, other), -1.0, 1.0))
    verified = similarity > threshold
    return VerifyResult(
        verified=verified,
        similarity=similarity,
        threshold=threshold,
        reason=None if verified else "below_threshold",
        num_faces=1,
        face=face.model_copy(update={"embedding": probe}),
        reference_face=reference_face,
    )


def _liveness(params: FindParams, work: Work) -> LivenessResult:
    asked = _as(LivenessParams, params)
    found = _counted(work.find(work.image, asked), asked)
    if len(found) != 1:
        reason: Literal["no_face", "multiple_faces"] = "multiple_faces" if found else "no_face"
        reading = Liveness(outcome="not_evaluated", reason=reason)
        return LivenessResult(liveness=reading, reason=reason, num_faces=len(found))
    reading = work.liveness(work.image, found[0], threshold=asked.threshold)
    face = _face(work.image, found[0], liveness=reading)
    return LivenessResult(liveness=reading, reason=None, num_faces=1, face=face)


def _register(params: FindParams, work: Work) -> RegisterResult:
    asked = _as(RegisterParams, params)
    limits = work.engine.info.thresholds
    found = _counted(work.find(work.image, asked), asked)
    checks = [_check("one_face", len(found), limit="== 1", passed=len(found) == 1)]
    reading = Liveness(outcome="not_evaluated", reason="skipped" if asked.skip_liveness else checks[0].name)
    if len(found) != 1:
        return RegisterResult(
            registered=False, reason="one_face", checks=checks, num_faces=len(found), liveness=reading
        )
    only = found[0]
    quality = measure(work.image, only)
    checks += _quality_checks(only, quality, least_score=limits.register_score)
    if not asked.skip_liveness:
        reading = work.liveness(work.image, only)
        checks.append(_check("liveness", reading.score, limit=f">= {limits.live:g}", passed=reading.outcome == "live"))
    failed = next((check.name for check in checks if not check.passed), None)
    embedding = work.embed(work.image, found)[0] if failed is None else None
    return RegisterResult(
        registered=failed is None,
        reason=failed,
        checks=checks,
        num_faces=1,
        liveness=reading,
        face=_face(work.image, only, quality=quality, liveness=reading),
        embedding=embedding,
    )


OPERATIONS: Final[dict[Operation, Callable[[FindParams, Work], Result]]] = {
    Operation.DETECT: _detect,
    Operation.EMBED: _embed,
    Operation.VERIFY: _verify,
    Operation.LIVENESS: _liveness,
    Operation.REGISTER: _register,
    Operation.ANALYZE: _analyze,
}


def _quality_checks(face: Detection, quality: Quality, *, least_score: float) -> list[Check]:
    dark, bright = BRIGHTNESS
    width, sharpness, brightness = quality.face_width_px, quality.sharpness, quality.brightness
    return [
        _check("detection_score", face.score, limit=f">= {least_score:g}", passed=face.score >= least_score),
        _check("face_width", width, limit=f">= {MIN_FACE_WIDTH:g}", passed=width >= MIN_FACE_WIDTH),
        _check("sharpness", sharpness, limit=f">= {MIN_SHARPNESS:g}", passed=sharpness >= MIN_SHARPNESS),
        _check("brightness", brightness, limit=f"{dark:g}..{bright:g}", passed=dark <= brightness <= bright),
    ]


def _check(
    name: Literal["one_face", "detection_score", "face_width", "sharpness", "brightness", "liveness"],
    value: float | None,
    *,
    limit: str,
    passed: bool,
) -> Check:
    return Check(name=name, value=value, limit=limit, passed=passed, advice=None if passed else ADVICE[name])


def _counted(found: list[Detection], params: OneFaceParams) -> list[Detection]:
    """The faces that count as present: bystanders far smaller than the largest do not."""
    return [face for face in found if face.area >= params.ignore_below * found[0].area]


def _check_reference(vector: Sequence[float], contract: str | None, info: EngineInfo) -> None:
    if contract is not None and contract != info.contract:
        raise JobError(
            ErrorCode.EMBEDDING_CONTRACT_MISMATCH,
            f"The reference embedding has contract {contract}; this worker's models have {info.contract}.",
        )
    if len(vector) != info.embedding_size:
        raise JobError(
            ErrorCode.INVALID_EMBEDDING,
            f"The reference embedding has {len(vector)} numbers; this worker's models give {info.embedding_size}.",
        )
    checked_vector(vector, name="the reference embedding")


def _face(
    image: Image,
    found: Detection,
    *,
    quality: Quality | None = None,
    liveness: Liveness | None = None,
    embedding: Embedding | None = None,
) -> Face:
    return Face(
        box=found.box,
        landmarks=list(found.landmarks),
        score=found.score,
        quality=quality or measure(image, found),
        liveness=liveness,
        embedding=embedding,
    )


def _faces(work: Work, faces: list[Face]) -> FacesResult:
    height, width = work.image.shape[:2]
    return FacesResult(image=ImageInfo(width=width, height=height), faces=faces)


def _as(kind: type[P], params: FindParams) -> P:
    if not isinstance(params, kind):
        msg = f"expected {kind.__name__}, got {type(params).__name__}"
        raise TypeError(msg)
    return params
