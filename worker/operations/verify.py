"""The verify operation: compare a face with a reference image or embedding, and optionally require liveness."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from shared.errors import ErrorCode, JobError
from shared.faces import Embedding, Face, Liveness, Recognisability, cosine
from shared.operations import ReferenceEmbedding, VerifyParams
from shared.results import VerifyResult
from worker.engine.base import EngineInfo
from worker.operations import answers, comparing, false_matches, person
from worker.operations.decision import Obstacle, Verdict, decide, of_reference
from worker.operations.false_matches import Limit
from worker.operations.person import Person
from worker.operations.work import Work
from worker.packs.calibration import Calibration

RECOGNISABLE: Final = Recognisability(recognisable=True)
NOT_REQUESTED: Final = Liveness(outcome="not_evaluated", reason="not_requested")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a face, or the reason why there is none."""

    subject: Person
    face: Face | None = None
    liveness: Liveness = NOT_REQUESTED


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two embeddings."""

    similarity: float
    face: Face
    probe: Recognisability
    reference: Recognisability

    @property
    def obstacles(self) -> list[Obstacle]:
        """The faces that cannot be recognised."""
        sides: tuple[tuple[Obstacle, Recognisability], ...] = (
            ("unrecognisable", self.probe),
            ("reference_unrecognisable", self.reference),
        )
        return [obstacle for obstacle, verdict in sides if not verdict.recognisable]

    @property
    def measured(self) -> bool:
        """Whether the pack has a measure that says how well both can be recognised."""
        return self.probe.score is not None and self.reference.score is not None


def verify(params: VerifyParams, work: Work) -> VerifyResult:
    """Compare one face of the image with one face of the reference; both are embedded in one run.

    Raises:
        JobError: the reference embedding is of another contract or length, there is no reference at all, liveness is
            asked of a pack without a model for it, or a false-match rate cannot be served.
    """
    info = work.engine.info
    if params.liveness != "off" and info.liveness_model is None:
        raise JobError(ErrorCode.LIVENESS_UNAVAILABLE, f"The model pack {info.pack} has no passive liveness model.")
    limit = false_matches.match_limit(params, info, setting=work.verify_threshold)
    stored = None if work.reference is not None else _stored(params.reference_embedding, info)
    subjects = [person.find(image, params, work) for image in (work.image, work.reference) if image is not None]
    embeddings: list[Embedding] = []
    if all(subject.face for subject in subjects):
        embedded = person.embed(subjects, params, work)
        subjects, embeddings = [subject for subject, _ in embedded], [embedding for _, embedding in embedded]
    probe = _side(subjects[0], params, work, judge=params.liveness != "off")
    reference = None if work.reference is None else _side(subjects[1], params, work, judge=False)
    compared = _compare(probe, embeddings, stored, info)
    obstacles = _missing(probe, reference) if compared is None else compared.obstacles
    verdict = decide(
        obstacles,
        similar=compared is not None and compared.similarity > limit.threshold,
        liveness=probe.liveness if params.liveness == "require" else None,
        advice=None if compared is None else compared.probe.advice,
    )
    table = None if obstacles else info.calibration
    return _result(verdict, limit, probe, reference, compared, table)


def _result(
    verdict: Verdict,
    limit: Limit,
    probe: Side,
    reference: Side | None,
    compared: Comparison | None,
    table: Calibration | None,
) -> VerifyResult:
    """Build the result; `table` is given only if its false-match rates apply to this comparison."""
    return VerifyResult(
        decision=verdict.decision,
        verified=verdict.decision == "match",
        reason=verdict.reasons[0] if verdict.reasons else None,
        reasons=verdict.reasons,
        advice=verdict.advice,
        similarity=None if compared is None else compared.similarity,
        threshold=limit.threshold,
        threshold_from=limit.given_by,
        estimated_fmr=None if table is None or compared is None else table.fmr_at(limit.threshold),
        fmr_bounds=None
        if table is None or compared is None
        else false_matches.bounds(limit.threshold, table, measured=compared.measured),
        liveness=probe.liveness,
        num_faces=probe.subject.count,
        face=probe.face if compared is None else compared.face,
        reference_face=None if reference is None else reference.face,
        reference_recognisability=None if compared is None else compared.reference,
        other_faces=probe.subject.others,
        reference_other_faces=[] if reference is None else reference.subject.others,
        orientation=probe.subject.image.turn,
        reference_orientation=0 if reference is None else reference.subject.image.turn,
    )


def _stored(reference: ReferenceEmbedding | None, info: EngineInfo) -> ReferenceEmbedding:
    if reference is None:
        raise JobError(ErrorCode.INVALID_REQUEST, "verify needs a reference image or a reference embedding.")
    comparing.checked(reference, info, name="The reference embedding")
    return reference


def _missing(probe: Side, reference: Side | None) -> list[Obstacle]:
    """Return why there is nothing to compare, starting with the image."""
    missing: list[Obstacle] = [] if probe.subject.reason is None else [probe.subject.reason]
    if reference is not None and reference.subject.reason is not None:
        missing.append(of_reference(reference.subject.reason))
    return missing


def _side(subject: Person, params: VerifyParams, work: Work, *, judge: bool) -> Side:
    """Describe the face of one picture; with `judge`, also read its liveness."""
    liveness = person.liveness(subject, params, work) if judge else NOT_REQUESTED
    if subject.face is None:
        return Side(subject, liveness=liveness)
    shown = liveness if judge else None
    face = answers.face(subject.picture, subject.face, liveness=shown, clamp=params.clamp_boxes)
    return Side(subject, face, liveness)


def _compare(
    probe: Side, embeddings: Sequence[Embedding], stored: ReferenceEmbedding | None, info: EngineInfo
) -> Comparison | None:
    """Compare the embeddings of image and reference; return None if either face is missing."""
    if probe.face is None or not embeddings:
        return None
    embedding, *others = embeddings
    if stored is None:
        vector, verdict = others[0].vector, others[0].recognisability or RECOGNISABLE
    else:
        vector, verdict = stored.vector, _recognisability(stored, info)
    return Comparison(
        similarity=cosine(embedding.vector, vector),
        face=probe.face.model_copy(update={"embedding": embedding}),
        probe=embedding.recognisability or RECOGNISABLE,
        reference=verdict,
    )


def _recognisability(reference: ReferenceEmbedding, info: EngineInfo) -> Recognisability:
    """Judge a stored embedding: its own verdict if that is negative, otherwise a verdict from its vector.

    The roll of the face is unknown, and the raw length is known only if it was stored: a vector may have any scale.
    """
    if reference.recognisability is not None and not reference.recognisability.recognisable:
        return reference.recognisability
    vector = np.asarray(reference.vector, np.float64)
    vector /= np.abs(vector).max()  # otherwise the squares of large values would overflow and lose the direction
    vector *= (reference.length or 1.0) / np.linalg.norm(vector)
    measure = info.recognisability if reference.length is not None else replace(info.recognisability, min_length=None)
    [verdict] = measure.judge(vector[None, :], [0.0])
    return verdict
