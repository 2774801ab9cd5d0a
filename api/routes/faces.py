"""The classic endpoints: one call, one answer. Behind each image call runs an ordinary job."""

from typing import Any, Final, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from api.asking import ask
from api.auth import Caller
from api.backend import Backend
from api.bodies import Form, FormFields, media_type, parse, read_form, refuse_media_type
from api.classic_schemas import (
    COMPARE_BODY,
    IMAGE_BODY,
    REGISTER_BODY,
    VERIFY_BODY,
    CompareAnswer,
    CompareRequest,
    DetectAnswer,
    EmbeddingAnswer,
    LivenessAnswer,
    RegisterAnswer,
    VerifyAnswer,
)
from api.deps import BackendDep, JobsWriter, SettingsDep
from api.intake import Submission, new_id
from api.openapi import CLASSIC_CODES, problem_responses
from api.schemas import Vector
from api.settings import ApiSettings
from api.submissions import check_size
from shared.errors import ErrorCode, FieldError, RequestError
from shared.faces import Embedding, Face, checked_vector, cosine
from shared.operations import (
    FindParams,
    LivenessParams,
    Operation,
    ReferenceEmbedding,
    RegisterParams,
    VerifyParams,
)
from shared.results import FacesResult, LivenessResult, RegisterResult, VerifyResult

FORM_FIELDS: Final = FormFields(
    files=frozenset({"file"}), texts=frozenset({"stored_embedding", "skip_liveness"}), ignore_unknown=True
)
"""The classic service ignored other fields, and so must this one."""
AS_BEFORE: Final = FindParams(full_size=True)
"""The classic service reads every photo whole; at half its size the length of an embedding moves by up to 5 %."""
ONE_AS_BEFORE: Final[dict[str, Any]] = {"full_size": True, "select": "all", "ignore_below": 0.0, "auto_orient": False}
"""For calls about one person: the classic service counts every face, however small, and turns no picture."""
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

router = APIRouter(tags=["classic"])
R = TypeVar("R", bound=BaseModel)


@router.post(
    "/detect",
    summary="Find the face",
    responses=problem_responses(*CLASSIC_CODES),
    openapi_extra=IMAGE_BODY,
)
async def detect(request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep) -> DetectAnswer:
    """Count the faces of an image, and say where the face is if there is exactly one."""
    form = await read_form(request, FORM_FIELDS)
    faces = (await _run(FacesResult, Operation.DETECT, AS_BEFORE, form, request, caller, backend, settings)).faces
    if len(faces) == 1:
        face = faces[0]
        return DetectAnswer(
            face_detected=True,
            num_faces=1,
            confidence=face.score,
            bbox=list(face.box),
            message="Face detected successfully",
        )
    return DetectAnswer(face_detected=bool(faces), num_faces=len(faces), message=_not_one(faces, SEVERAL_ADVICE))


@router.post(
    "/extract-embedding",
    summary="Embed the face",
    responses=problem_responses(*CLASSIC_CODES),
    openapi_extra=IMAGE_BODY,
)
async def extract_embedding(
    request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep
) -> EmbeddingAnswer:
    """Give the raw embedding of the face if there is exactly one."""
    form = await read_form(request, FORM_FIELDS)
    faces = (await _run(FacesResult, Operation.EMBED, AS_BEFORE, form, request, caller, backend, settings)).faces
    if len(faces) == 1:
        if refused := _unrecognisable(faces[0]):
            return EmbeddingAnswer(success=False, face_detected=True, num_faces=1, message=refused)
        return EmbeddingAnswer(
            success=True,
            embedding=_raw(faces[0].embedding),
            face_detected=True,
            num_faces=1,
            message="Face embedding extracted successfully",
        )
    return EmbeddingAnswer(
        success=False, face_detected=bool(faces), num_faces=len(faces), message=_not_one(faces, SEVERAL_ADVICE)
    )


@router.post(
    "/compare",
    summary="Compare two embeddings",
    responses=problem_responses(
        ErrorCode.MALFORMED_JSON,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_EMBEDDING,
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        ErrorCode.REQUEST_TOO_LARGE,
        ErrorCode.REQUEST_TIMEOUT,
        ErrorCode.GATEWAY_BUSY,
        ErrorCode.INTERNAL_ERROR,
    ),
    openapi_extra=COMPARE_BODY,
)
async def compare(request: Request, _: JobsWriter, settings: SettingsDep) -> CompareAnswer:
    """Give the cosine of two embeddings. They must come from the same model: this call cannot tell."""
    if media_type(request) not in {"application/json", ""}:
        refuse_media_type("application/json")
    body = parse(CompareRequest, await request.body())
    similarity = cosine(body.embedding1, body.embedding2)
    match = similarity > settings.match_threshold
    return CompareAnswer(
        similarity=round(similarity, DECIMALS),
        is_match=match,
        message="Faces match" if match else "Faces do not match",
    )


@router.post(
    "/verify",
    summary="Compare the face with a stored embedding",
    response_model_exclude_none=True,
    responses=problem_responses(
        *CLASSIC_CODES,
        ErrorCode.MALFORMED_JSON,
        ErrorCode.INVALID_EMBEDDING,
        ErrorCode.EMBEDDING_CONTRACT_MISMATCH,
    ),
    openapi_extra=VERIFY_BODY,
)
async def verify(request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep) -> VerifyAnswer:
    """Say whether the face is the one of the stored embedding; without one, give the face's embedding."""
    form = await read_form(request, FORM_FIELDS)
    stored = form.json("stored_embedding")
    if stored is None:
        return await _verify_nothing(form, request, caller, backend, settings)
    params = await to_thread.run_sync(_verify_params, stored, backend, settings)
    result = await _run(VerifyResult, Operation.VERIFY, params, form, request, caller, backend, settings)
    if result.decision == "inconclusive" or result.similarity is None:
        return VerifyAnswer(success=False, verified=False, message=_inconclusive(result))
    return VerifyAnswer(
        success=True,
        verified=result.verified,
        similarity=round(result.similarity, DECIMALS),
        message="Face verified" if result.verified else "Face not verified",
    )


def _inconclusive(result: VerifyResult) -> str:
    """Why a verification has no answer. The similarity of an unrecognisable face is left out: it proves nothing."""
    if result.reason in {"no_face", "multiple_faces"}:
        return SEVERAL if result.reason == "multiple_faces" else NO_FACE
    sentence = STORED_NOT_RECOGNISABLE if result.reason == "reference_unrecognisable" else NOT_RECOGNISABLE
    return f"{sentence} {result.advice or ''}".rstrip()


def _verify_params(stored: str, backend: Backend, settings: ApiSettings) -> VerifyParams:
    vector = list(checked_vector(parse(Vector, stored, within="stored_embedding"), name="stored_embedding"))
    check_size(vector, backend.roll.required(), name="stored_embedding")
    return VerifyParams(
        **ONE_AS_BEFORE,
        threshold=settings.match_threshold,
        reference_embedding=ReferenceEmbedding(vector=vector),
    )


async def _verify_nothing(
    form: Form, request: Request, caller: Caller, backend: Backend, settings: ApiSettings
) -> VerifyAnswer:
    faces = (await _run(FacesResult, Operation.EMBED, AS_BEFORE, form, request, caller, backend, settings)).faces
    if len(faces) != 1:
        return VerifyAnswer(success=False, verified=False, message=_not_one(faces, SEVERAL))
    if refused := _unrecognisable(faces[0]):
        return VerifyAnswer(success=False, verified=False, message=refused)
    return VerifyAnswer(success=True, embedding=_raw(faces[0].embedding), message="Face embedding extracted")


@router.post(
    "/liveness",
    summary="Is the face live?",
    responses=problem_responses(*CLASSIC_CODES, ErrorCode.LIVENESS_UNAVAILABLE),
    openapi_extra=IMAGE_BODY,
)
async def liveness(request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep) -> LivenessAnswer:
    """Say whether the face was in front of the camera. A face that the model is unsure of is not live."""
    form = await read_form(request, FORM_FIELDS)
    params = LivenessParams(**ONE_AS_BEFORE)
    result = await _run(LivenessResult, Operation.LIVENESS, params, form, request, caller, backend, settings)
    if result.reason is not None:
        message = SEVERAL if result.reason == "multiple_faces" else NO_FACE
        return LivenessAnswer(is_live=False, confidence=0.0, message=message)
    live = result.liveness.outcome == "live"
    return LivenessAnswer(
        is_live=live,
        confidence=round(result.liveness.score or 0.0, DECIMALS),
        message="Liveness check passed" if live else "Liveness check failed",
    )


@router.post(
    "/register",
    summary="Check a face for registration and embed it",
    response_model_exclude_none=True,
    responses=problem_responses(*CLASSIC_CODES, ErrorCode.LIVENESS_UNAVAILABLE),
    openapi_extra=REGISTER_BODY,
)
async def register(request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep) -> RegisterAnswer:
    """Run every check of a registration; give the embedding if all pass, else name the first that failed."""
    form = await read_form(request, FORM_FIELDS)
    skip = _flag(form, "skip_liveness")
    params = RegisterParams(**ONE_AS_BEFORE, skip_liveness=skip)
    result = await _run(RegisterResult, Operation.REGISTER, params, form, request, caller, backend, settings)
    score = result.liveness.score
    confidence = None if score is None else round(score, DECIMALS)
    if not result.registered:
        return RegisterAnswer(success=False, message=_refusal(result), liveness_confidence=confidence)
    return RegisterAnswer(
        success=True,
        embedding=_raw(result.embedding),
        message="Face registered successfully",
        liveness_confidence=1.0 if skip else confidence,
        detection_confidence=round(result.face.score, DECIMALS) if result.face else None,
        liveness_skipped=skip,
    )


def _refusal(result: RegisterResult) -> str:
    if result.reason == "recognisability":
        advice = next((check.advice for check in result.checks if check.name == "recognisability"), None)
        return f"{NOT_RECOGNISABLE} {advice or ''}".rstrip()
    if result.reason == "one_face":
        return REGISTER_SEVERAL if result.num_faces else REGISTER_NO_FACE
    return REGISTER_FAILED.get(result.reason or "", f"Registration check failed: {result.reason}.")


async def _run(
    kind: type[R],
    operation: Operation,
    params: FindParams,
    form: Form,
    request: Request,
    caller: Caller,
    backend: Backend,
    settings: ApiSettings,
) -> R:
    """The result of a classic call's job."""
    submission = Submission(
        operation=operation,
        image=form.file("file"),
        params=params,
        tenant=caller.tenant,
        grant=caller.grant,
        quality_policy=caller.quality_policy,
    )
    job_id = request.state.subject = new_id(backend.ledger)
    return await ask(kind, submission, job_id=job_id, backend=backend, settings=settings)


def _not_one(faces: list[Face], several: str) -> str:
    return several if faces else NO_FACE


def _unrecognisable(face: Face) -> str | None:
    """The message of a refusal where the face cannot be recognised: different people would match."""
    verdict = face.embedding.recognisability if face.embedding else None
    if verdict is None or verdict.recognisable:
        return None
    return f"{NOT_RECOGNISABLE} {verdict.advice or ''}".rstrip()


def _raw(embedding: Embedding | None) -> list[float] | None:
    """The recogniser's raw output: jobs keep the unit vector and its length apart."""
    return None if embedding is None else [value * embedding.length for value in embedding.vector]


def _flag(form: Form, name: str) -> bool:
    given: Any = form.json(name) or "false"
    try:
        return TypeAdapter(bool).validate_python(given)
    except ValidationError:
        raise RequestError(
            ErrorCode.INVALID_REQUEST, "The form has wrong fields.", fields=(FieldError(name, "must be true or false"),)
        ) from None
