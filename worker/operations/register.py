"""The register operation: decide whether a person may be enrolled, and report every check."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.faces import Check, CheckName, Embedding, Face, Liveness
from shared.operations import RegisterParams
from shared.quality import QualityLimits, QualityPolicy
from shared.results import Duplicate, ImageVerdict, RegisterResult
from worker.engine.base import EngineInfo
from worker.operations import answers, comparing, gates, person
from worker.operations.person import Person
from worker.operations.work import Work


@dataclass(slots=True)
class Examined:
    """One image with its checks so far."""

    clear: Check
    subject: Person
    reading: Liveness
    seen: gates.Seen | None = None
    face: Face | None = None
    checks: list[Check] = field(default_factory=list)
    embedding: Embedding | None = None

    @property
    def failed(self) -> CheckName | None:
        """The first check that failed."""
        return next((check.name for check in self.checks if not check.passed), None)


def register(params: RegisterParams, work: Work) -> RegisterResult:
    """Run every check on the face of each image, and embed the person if enough images pass.

    Raises:
        JobError: `liveness_unavailable` if the pack has no liveness model and the check is not skipped;
            `embedding_contract_mismatch` or `invalid_embedding` if a known embedding cannot be compared.
    """
    info = work.engine.info
    known = [
        comparing.checked(embedding, info, name=f"Known embedding {index}")
        for index, embedding in enumerate(params.known_embeddings)
    ]
    subjects = [person.find(picture, params, work) for picture in (work.image, *work.extra_images)]
    examined = [_examine(subject, params, work) for subject in subjects]
    examined = _embed(examined, _limits(params, info), params, work)
    _compare(examined, match=info.thresholds.match)
    accepted = [image for image in examined if image.failed is None]
    shown = (accepted or examined)[0]
    checks, duplicates = list(shown.checks), list[Duplicate]()
    embedding = comparing.template([image.embedding for image in accepted if image.embedding]) if accepted else None
    if embedding is not None and known:
        check, duplicates = _duplicates(embedding, known, params, info)
        checks.append(check)
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
        orientation=shown.subject.image.turn,
        embedding=embedding if reason is None else None,
        accepted=len(accepted),
        images=[_verdict(index, image) for index, image in enumerate(examined)] if work.extra_images else [],
        duplicates=duplicates,
    )


def _limits(params: RegisterParams, info: EngineInfo) -> QualityLimits:
    policy = QualityPolicy().for_request(params.quality, params.quality_limits)
    return policy.effective(
        register_score=info.thresholds.register_score, register_length=info.thresholds.register_length
    )


def _examine(subject: Person, params: RegisterParams, work: Work) -> Examined:
    """Find the face and take every measurement that needs no embedding."""
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
    )


def _embed(examined: Sequence[Examined], limits: QualityLimits, params: RegisterParams, work: Work) -> list[Examined]:
    """Run the checks of each image and embed the passing ones in one model run.

    All images are embedded if the embedding length has a limit, or if embeddings decide whether a picture must be
    rotated. A rotated picture is examined again.
    """
    info = work.engine.info
    for image in examined:
        _hold(image, limits, info=info)
    every = limits.min_embedding_length is not None or (params.auto_orient and info.recognisability.limits is not None)
    wanted = [image for image in examined if image.seen and (every or image.failed is None)]
    embedded = iter(person.embed([image.subject for image in wanted], params, work))
    result = []
    for image in examined:
        if any(image is each for each in wanted):
            subject, embedding = next(embedded)
            again = image if subject.image is image.subject.image else _examine(subject, params, work)
            again.embedding = embedding
            _hold(again, limits, info=info)
            result.append(again)
        else:
            result.append(image)
    return result


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
    """Compare the images that passed with each other; an image of another person fails `same_person`."""
    passed = [image for image in examined if image.failed is None]
    embeddings = [image.embedding for image in passed if image.embedding is not None]
    if len(embeddings) < 2:  # noqa: PLR2004 - one image agrees with itself
        return
    agreed = comparing.agreement(embeddings, match=match)
    for image, member, similarity in zip(passed, agreed.members, agreed.similarities, strict=True):
        image.checks.append(gates.same_person(similarity, match=match, passed=member))


def _duplicates(
    embedding: Embedding, known: Sequence[Sequence[float]], params: RegisterParams, info: EngineInfo
) -> tuple[Check, list[Duplicate]]:
    """Check the known embeddings; return the check and those above the limit, most similar first."""
    limit = info.thresholds.duplicate if params.duplicate_threshold is None else params.duplicate_threshold
    limit = info.thresholds.match if limit is None else limit
    similarities = comparing.similarities(embedding, known)
    pairs = [Duplicate(index=index, similarity=similarity) for index, similarity in enumerate(similarities)]
    pairs.sort(key=lambda pair: -pair.similarity)
    return gates.duplicate(pairs[0].similarity, limit=limit), [pair for pair in pairs if pair.similarity > limit]


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
        orientation=image.subject.image.turn,
    )
