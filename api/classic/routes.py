"""The classic endpoints: one request, one response. Behind each image call runs an ordinary job."""

from typing import Any, Final, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from api.auth.authenticator import Caller
from api.backend.backend import Backend
from api.classic.responses import (
    compare_answer,
    detect_answer,
    embed_only_answer,
    embedding_answer,
    liveness_answer,
    register_answer,
    verify_answer,
)
from api.classic.schemas import (
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
from api.http.forms import Form, FormFields, media_type, parse, read_form, refuse_media_type
from api.http.openapi import CLASSIC_CODES, problem_responses
from api.jobs.parsing import check_size
from api.jobs.schemas import Vector
from api.jobs.submit import Submission, new_id
from api.jobs.submit_and_wait import ask
from api.settings.api import ApiSettings
from shared.errors import ErrorCode, FieldError, RequestError
from shared.faces import checked_vector, cosine
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
"""The classic service ignored unknown fields, so these endpoints do too."""
AS_BEFORE: Final = FindParams(full_size=True)
"""The classic service decoded photos at full size; at half size the length of an embedding changes by up to 5 %."""
ONE_AS_BEFORE: Final[dict[str, Any]] = {"full_size": True, "select": "all", "ignore_below": 0.0, "auto_orient": False}
"""For calls about one person: the classic service counted faces of any size and never rotated the image."""

router = APIRouter(tags=["classic"])
R = TypeVar("R", bound=BaseModel)


@router.post(
    "/detect",
    summary="Detect a face",
    responses=problem_responses(*CLASSIC_CODES),
    openapi_extra=IMAGE_BODY,
)
async def detect(request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep) -> DetectAnswer:
    """Count the faces in an image, and locate the face if there is exactly one."""
    form = await read_form(request, FORM_FIELDS)
    faces = (await _run(FacesResult, Operation.DETECT, AS_BEFORE, form, request, caller, backend, settings)).faces
    return detect_answer(faces)


@router.post(
    "/extract-embedding",
    summary="Extract an embedding",
    responses=problem_responses(*CLASSIC_CODES),
    openapi_extra=IMAGE_BODY,
)
async def extract_embedding(
    request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep
) -> EmbeddingAnswer:
    """Return the raw embedding of the face if there is exactly one."""
    form = await read_form(request, FORM_FIELDS)
    faces = (await _run(FacesResult, Operation.EMBED, AS_BEFORE, form, request, caller, backend, settings)).faces
    return embedding_answer(faces)


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
    """Return the cosine similarity of two embeddings. Both must come from the same model, which is not checked."""
    if media_type(request) not in {"application/json", ""}:
        refuse_media_type("application/json")
    body = parse(CompareRequest, await request.body())
    return compare_answer(cosine(body.embedding1, body.embedding2), threshold=settings.match_threshold)


@router.post(
    "/verify",
    summary="Verify a face against a stored embedding",
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
    """Check whether the face matches the stored embedding. Without one, return the embedding of the face."""
    form = await read_form(request, FORM_FIELDS)
    stored = form.json("stored_embedding")
    if stored is None:
        return await _embed_only(form, request, caller, backend, settings)
    params = await to_thread.run_sync(_verify_params, stored, backend, settings)
    result = await _run(VerifyResult, Operation.VERIFY, params, form, request, caller, backend, settings)
    return verify_answer(result)


def _verify_params(stored: str, backend: Backend, settings: ApiSettings) -> VerifyParams:
    vector = list(checked_vector(parse(Vector, stored, within="stored_embedding"), name="stored_embedding"))
    check_size(vector, backend.workers.required(), name="stored_embedding")
    return VerifyParams(
        **ONE_AS_BEFORE,
        threshold=settings.match_threshold,
        reference_embedding=ReferenceEmbedding(vector=vector),
    )


async def _embed_only(
    form: Form, request: Request, caller: Caller, backend: Backend, settings: ApiSettings
) -> VerifyAnswer:
    faces = (await _run(FacesResult, Operation.EMBED, AS_BEFORE, form, request, caller, backend, settings)).faces
    return embed_only_answer(faces)


@router.post(
    "/liveness",
    summary="Check liveness",
    responses=problem_responses(*CLASSIC_CODES, ErrorCode.LIVENESS_UNAVAILABLE),
    openapi_extra=IMAGE_BODY,
)
async def liveness(request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep) -> LivenessAnswer:
    """Check whether a live face was in front of the camera. An uncertain result counts as not live."""
    form = await read_form(request, FORM_FIELDS)
    params = LivenessParams(**ONE_AS_BEFORE)
    result = await _run(LivenessResult, Operation.LIVENESS, params, form, request, caller, backend, settings)
    return liveness_answer(result)


@router.post(
    "/register",
    summary="Register a face",
    response_model_exclude_none=True,
    responses=problem_responses(*CLASSIC_CODES, ErrorCode.LIVENESS_UNAVAILABLE),
    openapi_extra=REGISTER_BODY,
)
async def register(request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep) -> RegisterAnswer:
    """Run every registration check. Return the embedding if all pass, else the first check that failed."""
    form = await read_form(request, FORM_FIELDS)
    skip = _flag(form, "skip_liveness")
    params = RegisterParams(**ONE_AS_BEFORE, skip_liveness=skip)
    result = await _run(RegisterResult, Operation.REGISTER, params, form, request, caller, backend, settings)
    return register_answer(result, liveness_skipped=skip)


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
    """Submit the job of a classic call and return its result."""
    submission = Submission(
        operation=operation,
        image=form.file("file"),
        params=params,
        tenant=caller.tenant,
        grant=caller.grant,
        quality_policy=caller.quality_policy,
    )
    job_id = request.state.subject = new_id(backend.stores.jobs)
    return await ask(kind, submission, job_id=job_id, backend=backend, settings=settings)


def _flag(form: Form, name: str) -> bool:
    value: Any = form.json(name) or "false"
    try:
        return TypeAdapter(bool).validate_python(value)
    except ValidationError:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            "The form has invalid fields.",
            fields=(FieldError(name, "must be true or false"),),
        ) from None
