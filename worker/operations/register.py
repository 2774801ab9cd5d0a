"""Register: may the person of these images be enrolled? Every check is answered, not only the first that fails."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.faces import Check, CheckName, Embedding, Face, Liveness, cosine
from shared.operations import Duplicate, ImageVerdict, RegisterParams, RegisterResult
from shared.quality import QualityLimits, QualityPolicy
from worker.engine.base import EngineInfo
from worker.images import Picture
from worker.operations import answers, comparing, gates, person
from worker.operations.person import Person
from worker.operations.work import Work


@dataclass(slots=True)
class Examined:
    """One image and what its checks say so far."""

    clear: Check
    subject: Person
    reading: Liveness
    seen: gates.Seen | None = None
    face: Face | None = None
    picture: Picture | None = None
    checks: list[Check] = field(default_factory=list)
    embedding: Embedding | None = None

    @property
    def failed(self) -> CheckName | None:
        """The first check that failed."""
        return next((check.name for check in self.checks if not check.passed), None)


def register(params: RegisterParams, work: Work) -> RegisterResult:
    """Run every check on the one face of each image; embed the person where enough of them pass.

    Raises:
        JobError: `liveness_unavailable` where the pack has no liveness model and the check is not skipped;
            `embedding_contract_mismatch` or `invalid_embedding` for a known embedding that cannot be compared.
    """
    info = work.engine.info
    known = [
        comparing.checked(embedding, info, name=f"Known embedding {index}")
        for index, embedding in enumerate(params.known_embeddings)
    ]
    policy = QualityPolicy().asked(params.quality, params.quality_limits)
    limits = policy.effective(
        register_score=info.thresholds.register_score, register_length=info.thresholds.register_length
    )
    examined = [_examine(picture, params, work) for picture in (work.image, *work.more)]
    _embed(examined, limits, work)
    _compare(examined, match=info.thresholds.match)
    accepted = [image for image in examined if image.failed is None]
    shown = (accepted or examined)[0]
    checks, duplicates = list(shown.checks), list[Duplicate]()
    embedding = comparing.template([image.embedding for image in accepted if image.embedding]) if accepted else None
    if embedding is not None and known:
        limit = info.thresholds.duplicate if params.duplicate_threshold is None else params.duplicate_threshold
        limit = info.thresholds.match if limit is None else limit
        duplicates = _duplicates(embedding, known)
        checks.append(gates.duplicate(duplicates[0].similarity, limit=limit))
        duplicates = [each for each in duplicates if each.similarity > limit]
    enough = len(accepted) >= params.min_images
    reason = shown.failed or (None if enough else "too_few_images") or ("duplicate" if duplicates else None)
    return RegisterResult(
        registered=reason is None,
        reason=reason,
        checks=checks,
        num_faces=shown.subject.count,
        liveness=shown.reading,
        face=shown.face,
        other_faces=shown.subject.others,
        embedding=embedding if reason is None else None,
        accepted=len(accepted),
        images=[_verdict(index, image) for index, image in enumerate(examined)] if work.more else [],
        duplicates=duplicates,
    )


def _examine(picture: Picture, params: RegisterParams, work: Work) -> Examined:
    """Find the one face and read all that needs no embedding."""
    subject = person.find(picture, params, work)
    exactly = params.select in {"all", "prominent"}
    faces = subject.candidates if exactly else subject.count
    clear = gates.one_face(faces, chosen=subject.face is not None, exactly=exactly)
    reading = Liveness(outcome="not_evaluated", reason="skipped" if params.skip_liveness else clear.name)
    if subject.face is None:
        return Examined(clear, subject, reading, checks=[clear])
    picture, face = subject.picture, subject.face
    quality = answers.quality_of(picture, face)
    pose, eyes = work.head(picture, face)
    if not params.skip_liveness:
        reading = person.liveness(subject, params, work)
    return Examined(
        clear,
        subject,
        reading,
        seen=gates.Seen(face, quality, pose, eyes),
        face=answers.face(picture, face, quality=quality, liveness=reading, clamp=params.clamp_boxes),
        picture=picture,
    )


def _embed(examined: Sequence[Examined], limits: QualityLimits, work: Work) -> None:
    """Run the checks of each image. Embed those that pass, or all where the length has a limit, in one run."""
    for image in examined:
        _hold(image, limits, info=work.engine.info)
    asked = limits.min_embedding_length is not None
    embedded = [image for image in examined if asked or image.failed is None]
    crops = [work.align(image.picture, [image.seen.face]) for image in embedded if image.picture and image.seen]
    faces = [image.seen.face for image in embedded if image.picture and image.seen]
    embeddings = work.embed(np.concatenate(crops), faces) if crops else []
    for image, embedding in zip((image for image in embedded if image.seen), embeddings, strict=True):
        image.embedding = embedding
        _hold(image, limits, info=work.engine.info)


def _hold(image: Examined, limits: QualityLimits, *, info: EngineInfo) -> None:
    if image.seen is None:
        return
    image.checks = [image.clear, *gates.checks(image.seen, limits)]
    if image.embedding is not None:
        verdict = image.embedding.recognisability
        if verdict and info.recognisability.limits:
            image.checks.append(gates.recognisability(verdict, limits=info.recognisability.limits))
        image.checks += gates.embedding_length(image.embedding.length, limits)
    if image.reading.outcome != "not_evaluated":
        image.checks.append(gates.liveness(image.reading))


def _compare(examined: Sequence[Examined], *, match: float) -> None:
    """Hold those that passed to each other, where there are several: a stranger among them fails `same_person`."""
    passed = [image for image in examined if image.failed is None]
    embeddings = [image.embedding for image in passed if image.embedding is not None]
    if len(embeddings) < 2:  # noqa: PLR2004 - one image agrees with itself
        return
    agreed = comparing.agreement(embeddings, match=match)
    for image, member, similarity in zip(passed, agreed.members, agreed.similarities, strict=True):
        image.checks.append(gates.same_person(similarity, match=match, passed=member))


def _duplicates(embedding: Embedding, known: Sequence[Sequence[float]]) -> list[Duplicate]:
    """Every known embedding with its similarity, the most similar first."""
    found = [Duplicate(index=index, similarity=cosine(embedding.vector, other)) for index, other in enumerate(known)]
    return sorted(found, key=lambda each: -each.similarity)


def _verdict(index: int, image: Examined) -> ImageVerdict:
    return ImageVerdict(
        index=index,
        accepted=image.failed is None,
        reason=image.failed,
        checks=image.checks,
        num_faces=image.subject.count,
        liveness=image.reading,
        face=image.face,
        other_faces=image.subject.others,
    )
