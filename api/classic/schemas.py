"""Request and response bodies of the classic endpoints. Fields may be added but not renamed or removed."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from api.http.request_bodies import File, LenientFormSchema, json_body, multipart, request_body
from api.jobs.schemas import Vector


class DetectAnswer(BaseModel):
    """Response of `POST /detect`."""

    face_detected: bool
    num_faces: int = Field(ge=0)
    confidence: float | None = Field(
        default=None, description="Detection score; null unless there is exactly one face."
    )
    bbox: list[float] | None = Field(
        default=None,
        description="x1, y1, x2, y2 in pixels of the upright image; null unless there is exactly one face.",
    )
    message: str


class EmbeddingAnswer(BaseModel):
    """Response of `POST /extract-embedding`."""

    success: bool
    embedding: list[float] | None = Field(default=None, description="Raw output of the recognizer, not normalized.")
    face_detected: bool
    num_faces: int = Field(ge=0)
    message: str


class CompareRequest(BaseModel):
    """Two embeddings from the same model."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"embedding1": [0.1, 0.2], "embedding2": [0.1, 0.3]}]})

    embedding1: Vector
    embedding2: Vector


class CompareAnswer(BaseModel):
    """Response of `POST /compare`."""

    similarity: float = Field(ge=-1, le=1, description="Cosine similarity, 4 decimals.")
    is_match: bool = Field(description="True if the cosine similarity before rounding is above the threshold.")
    message: str


class VerifyAnswer(BaseModel):
    """Response of `POST /verify`: `verified` and `similarity` with a stored embedding, else `embedding`."""

    success: bool
    verified: bool | None = Field(default=None, description="Absent without a stored embedding.")
    similarity: float | None = Field(default=None, ge=-1, le=1, description="Cosine similarity, 4 decimals.")
    embedding: list[float] | None = Field(
        default=None, description="Raw output of the recognizer; only without a stored embedding."
    )
    message: str


class LivenessAnswer(BaseModel):
    """Response of `POST /liveness`."""

    is_live: bool
    confidence: float = Field(ge=0, le=1, description="Probability that the face is live; 0.0 for no face or several.")
    message: str


class RegisterAnswer(BaseModel):
    """Response of `POST /register`. A failed check returns `success`, `message`, and `liveness_confidence` if known."""

    success: bool
    embedding: list[float] | None = Field(default=None, description="Raw output of the recognizer, not normalized.")
    message: str
    liveness_confidence: float | None = Field(
        default=None, ge=0, le=1, description="1.0 if the liveness check was skipped."
    )
    detection_confidence: float | None = Field(default=None, ge=0, le=1)
    liveness_skipped: bool | None = None


class ImageForm(LenientFormSchema):
    """The form of a classic endpoint with one image."""

    file: File


class VerifyForm(LenientFormSchema):
    """The form of `POST /verify`."""

    file: File
    stored_embedding: str | None = Field(
        default=None, description="JSON array of numbers. Without it, the call only extracts an embedding."
    )


class RegisterForm(LenientFormSchema):
    """The form of `POST /register`."""

    file: File
    skip_liveness: str | None = Field(
        default=None,
        description="`true` skips the liveness check. Accepted: `true`, `t`, `yes`, `y`, `on`, `1`, `false`, "
        "`f`, `no`, `n`, `off`, `0`, in upper or lower case. Default: `false`.",
    )


IMAGE_BODY: Final = request_body(multipart(ImageForm, "file"))
VERIFY_BODY: Final = request_body(multipart(VerifyForm, "file"))
REGISTER_BODY: Final = request_body(multipart(RegisterForm, "file"))
COMPARE_BODY: Final = request_body(json_body(CompareRequest))
DOCUMENTED: Final = (ImageForm, VerifyForm, RegisterForm, CompareRequest)
"""Models that only hand-written parts of the OpenAPI document refer to."""
