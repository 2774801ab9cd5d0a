"""Responses of the classic endpoints, built from job results, with their fixed messages."""

from typing import Final

from api.classic.schemas import (
    CompareAnswer,
    DetectAnswer,
    EmbeddingAnswer,
    LivenessAnswer,
    RegisterAnswer,
    VerifyAnswer,
)
from shared.faces import Embedding, Face
from shared.results import LivenessResult, RegisterResult, VerifyResult

DECIMALS: Final = 4

NO_FACE: Final = "No face detected"
SEVERAL: Final = "Multiple faces detected"
SEVERAL_ADVICE: Final = "Multiple faces detected. Please ensure only one face is visible."
REGISTER_NO_FACE: Final = "No face detected. Please ensure your face is clearly visible."
REGISTER_SEVERAL: Final = "Multiple faces detected. Please ensure only you are in the frame."
NOT_RECOGNISABLE: Final = "Face cannot be recognised."
STORED_NOT_RECOGNISABLE: Final = "Stored face cannot be recognised."
REGISTER_FAILED: Final = {
    "detection_score": "Face detection confidence too low. Please improve lighting and face position.",
    "face_width": "Face too small. Please move closer to the camera.",
    "sharpness": "Face sharpness too low. Please hold still and check the focus of the camera.",
    "brightness": "Face brightness out of range. Please improve lighting.",
    "face_share": "Face too small. Please move closer to the camera.",
    "border": "Face cut by the border of the picture. Please move into the frame.",
    "contrast": "Face contrast too low. Please clean the camera and improve lighting.",
    "yaw": "Face turned away. Please look straight at the camera.",
    "pitch": "Face turned up or down. Please hold the camera at the height of your eyes.",
    "roll": "Face not upright. Please hold your head and the camera upright.",
    "embedding_length": "Face cannot be made out well enough. Please uncover your face and improve lighting.",
    "liveness": "Liveness check failed. Please ensure you are using a live camera feed.",
}


def detect_answer(faces: list[Face]) -> DetectAnswer:
    """The response of `POST /detect`."""
    if len(faces) != 1:
        message = _not_one(faces, SEVERAL_ADVICE)
        return DetectAnswer(face_detected=bool(faces), num_faces=len(faces), message=message)
    face = faces[0]
    return DetectAnswer(
        face_detected=True,
        num_faces=1,
        confidence=face.score,
        bbox=list(face.box),
        message="Face detected successfully",
    )


def embedding_answer(faces: list[Face]) -> EmbeddingAnswer:
    """The response of `POST /extract-embedding`."""
    if len(faces) != 1:
        message = _not_one(faces, SEVERAL_ADVICE)
        return EmbeddingAnswer(success=False, face_detected=bool(faces), num_faces=len(faces), message=message)
    if refused := _unrecognisable(faces[0]):
        return EmbeddingAnswer(success=False, face_detected=True, num_faces=1, message=refused)
    return EmbeddingAnswer(
        success=True,
        embedding=_raw(faces[0].embedding),
        face_detected=True,
        num_faces=1,
        message="Face embedding extracted successfully",
    )


def compare_answer(similarity: float, *, threshold: float) -> CompareAnswer:
    """The response of `POST /compare`."""
    match = similarity > threshold
    return CompareAnswer(
        similarity=round(similarity, DECIMALS),
        is_match=match,
        message="Faces match" if match else "Faces do not match",
    )


def verify_answer(result: VerifyResult) -> VerifyAnswer:
    """The response of `POST /verify` with a stored embedding."""
    if result.decision == "inconclusive" or result.similarity is None:
        return VerifyAnswer(success=False, verified=False, message=_inconclusive(result))
    return VerifyAnswer(
        success=True,
        verified=result.verified,
        similarity=round(result.similarity, DECIMALS),
        message="Face verified" if result.verified else "Face not verified",
    )


def embed_only_answer(faces: list[Face]) -> VerifyAnswer:
    """The response of `POST /verify` without a stored embedding."""
    if len(faces) != 1:
        return VerifyAnswer(success=False, verified=False, message=_not_one(faces, SEVERAL))
    if refused := _unrecognisable(faces[0]):
        return VerifyAnswer(success=False, verified=False, message=refused)
    return VerifyAnswer(success=True, embedding=_raw(faces[0].embedding), message="Face embedding extracted")


def liveness_answer(result: LivenessResult) -> LivenessAnswer:
    """The response of `POST /liveness`."""
    if result.reason is not None:
        message = SEVERAL if result.reason == "multiple_faces" else NO_FACE
        return LivenessAnswer(is_live=False, confidence=0.0, message=message)
    live = result.liveness.outcome == "live"
    return LivenessAnswer(
        is_live=live,
        confidence=round(result.liveness.score or 0.0, DECIMALS),
        message="Liveness check passed" if live else "Liveness check failed",
    )


def register_answer(result: RegisterResult, *, liveness_skipped: bool) -> RegisterAnswer:
    """The response of `POST /register`."""
    score = result.liveness.score
    confidence = None if score is None else round(score, DECIMALS)
    if not result.registered:
        return RegisterAnswer(success=False, message=_refusal(result), liveness_confidence=confidence)
    return RegisterAnswer(
        success=True,
        embedding=_raw(result.embedding),
        message="Face registered successfully",
        liveness_confidence=1.0 if liveness_skipped else confidence,
        detection_confidence=round(result.face.score, DECIMALS) if result.face else None,
        liveness_skipped=liveness_skipped,
    )


def _inconclusive(result: VerifyResult) -> str:
    """The message of an inconclusive verification. It omits the similarity, which proves nothing for such a face."""
    if result.reason in {"no_face", "multiple_faces"}:
        return SEVERAL if result.reason == "multiple_faces" else NO_FACE
    sentence = STORED_NOT_RECOGNISABLE if result.reason == "reference_unrecognisable" else NOT_RECOGNISABLE
    return f"{sentence} {result.advice or ''}".rstrip()


def _refusal(result: RegisterResult) -> str:
    """The message of a failed registration: which check failed, and what to do."""
    if result.reason == "recognisability":
        advice = next((check.advice for check in result.checks if check.name == "recognisability"), None)
        return f"{NOT_RECOGNISABLE} {advice or ''}".rstrip()
    if result.reason == "one_face":
        return REGISTER_SEVERAL if result.num_faces else REGISTER_NO_FACE
    return REGISTER_FAILED.get(result.reason or "", f"Registration check failed: {result.reason}.")


def _not_one(faces: list[Face], several: str) -> str:
    return several if faces else NO_FACE


def _unrecognisable(face: Face) -> str | None:
    """The message for a face that cannot be recognized, which would match different people; None otherwise."""
    verdict = face.embedding.recognisability if face.embedding else None
    if verdict is None or verdict.recognisable:
        return None
    return f"{NOT_RECOGNISABLE} {verdict.advice or ''}".rstrip()


def _raw(embedding: Embedding | None) -> list[float] | None:
    """The raw output of the recognizer. Jobs store the unit vector and its length separately."""
    return None if embedding is None else [value * embedding.length for value in embedding.vector]
