"""Register: may the face of the image be enrolled? Every check is answered, not only the first that fails."""

from typing import Final, Literal

from shared.faces import Check, Liveness, Quality
from shared.operations import RegisterParams, RegisterResult
from worker.engine.base import Detection
from worker.operations import answers
from worker.operations.choosing import one
from worker.operations.work import Work

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


def register(params: RegisterParams, work: Work) -> RegisterResult:
    """Run every check on the one face; embed it where all of them pass.

    Raises:
        JobError: `liveness_unavailable` where the pack has no liveness model and the check is not skipped.
    """
    limits = work.engine.info.thresholds
    chosen = one(work.find(work.image, params), work.image, params)
    wanted = "== 1" if params.select == "all" else ">= 1"
    checks = [_check("one_face", chosen.count, limit=wanted, passed=chosen.face is not None)]
    reading = Liveness(outcome="not_evaluated", reason="skipped" if params.skip_liveness else checks[0].name)
    if chosen.face is None:
        return RegisterResult(
            registered=False, reason="one_face", checks=checks, num_faces=chosen.count, liveness=reading
        )
    picture, [face] = work.in_detail(work.image, [chosen.face])
    quality = answers.quality_of(picture, face)
    checks += _quality_checks(face, quality, least_score=limits.register_score)
    if not params.skip_liveness:
        reading = work.liveness(picture, face)
        checks.append(_check("liveness", reading.score, limit=f">= {limits.live:g}", passed=reading.outcome == "live"))
    failed = next((check.name for check in checks if not check.passed), None)
    embedding = work.embed(work.align(picture, [face]))[0] if failed is None else None
    return RegisterResult(
        registered=failed is None,
        reason=failed,
        checks=checks,
        num_faces=chosen.count,
        liveness=reading,
        face=answers.face(picture, face, quality=quality, liveness=reading),
        embedding=embedding,
    )


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
