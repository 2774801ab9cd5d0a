"""Register: may the face of the image be enrolled? Every check is answered, not only the first that fails."""

from shared.faces import Embedding, Liveness
from shared.operations import RegisterParams, RegisterResult
from shared.quality import QualityPolicy
from worker.engine.base import Detection
from worker.images import Picture
from worker.operations import answers, gates
from worker.operations.choosing import one
from worker.operations.work import Work


def register(params: RegisterParams, work: Work) -> RegisterResult:
    """Run every check on the one face; embed it where all of them pass.

    Raises:
        JobError: `liveness_unavailable` where the pack has no liveness model and the check is not skipped.
    """
    policy = QualityPolicy().asked(params.quality, params.quality_limits)
    limits = policy.effective(register_score=work.engine.info.thresholds.register_score)
    chosen = one(work.find(work.image, params), work.image, params)
    clear = gates.one_face(chosen.count, chosen=chosen.face is not None, exactly=params.select == "all")
    reading = Liveness(outcome="not_evaluated", reason="skipped" if params.skip_liveness else clear.name)
    if chosen.face is None:
        return RegisterResult(
            registered=False, reason="one_face", checks=[clear], num_faces=chosen.count, liveness=reading
        )
    picture, [face] = work.in_detail(work.image, [chosen.face])
    quality = answers.quality_of(picture, face)
    embedding = None if limits.min_embedding_length is None else _embedded(work, picture, face)
    seen = gates.Seen(face, quality, *work.head(picture, face), None if embedding is None else embedding.length)
    checks = [clear, *gates.checks(seen, limits)]
    if not params.skip_liveness:
        reading = work.liveness(picture, face)
        checks.append(gates.liveness(reading))
    failed = next((check.name for check in checks if not check.passed), None)
    if failed is None and embedding is None:
        embedding = _embedded(work, picture, face)
    return RegisterResult(
        registered=failed is None,
        reason=failed,
        checks=checks,
        num_faces=chosen.count,
        liveness=reading,
        face=answers.face(picture, face, quality=quality, liveness=reading),
        embedding=embedding if failed is None else None,
    )


def _embedded(work: Work, picture: Picture, face: Detection) -> Embedding:
    [embedding] = work.embed(work.align(picture, [face]))
    return embedding
