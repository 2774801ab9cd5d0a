"""From the body of `POST /v1/jobs`, in either form, to what is submitted."""

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final, NoReturn

from api.http.forms import Form, FormFields, parse, parse_object
from api.images.base64_text import decoded
from api.jobs.schemas import (
    MAX_METADATA_BYTES,
    ImageSource,
    JobSubmission,
    ReferenceSource,
    ReferenceVector,
    WebhookSpec,
)
from api.jobs.submit import Submission
from api.settings.image_urls import UrlPolicy
from api.settings.webhook_urls import WebhookPolicy
from shared.errors import EmbeddingError, ErrorCode, FieldError, ImageError, RequestError
from shared.faces import checked_vector
from shared.jobs import Priority
from shared.ledger.presence import WorkerInfo
from shared.operations import (
    MAX_IMAGES,
    SUBMITTABLE,
    FindParams,
    Operation,
    ReferenceEmbedding,
    RegisterParams,
    VerifyParams,
    parse_params,
)
from shared.webhooks.schemas import JOB_EVENTS, EventType, Webhook

FORM_FIELDS: Final = FormFields(
    files=frozenset({"image"}),
    texts=frozenset({"operation", "image_url", "params", "metadata", "priority", "webhook"}),
    either=frozenset({"reference"}),
    repeated="image",
)


def from_form(form: Form, *, policy: UrlPolicy, hooks: WebhookPolicy) -> Submission:
    """The job that a multipart body asks for.

    Args:
        form: the body.
        policy: from where images may be fetched.
        hooks: who may be told.

    Raises:
        RequestError: a field is missing, wrong, or does not go with the operation.
        EmbeddingError: the reference embedding cannot be compared.
        ImageError: the reference is empty.
    """
    raw = form.json("reference")
    url = form.texts.get("image_url")
    if url is not None and "image" in form.files:
        _refuse("image_url", "give either image or image_url, not both")
    webhook = read_webhook_spec(form.json("webhook"), hooks=hooks, events=JOB_EVENTS)
    submission = compose(
        operation=read_operation(form.texts.get("operation")),
        image=form.file("image") if url is None else b"",
        extra_images=form.files.get("image", ())[1:],
        image_url=None if url is None else str(policy.check(url, field="image_url")),
        reference=form.file("reference") if "reference" in form.files else None,
        source=parse(ReferenceSource, raw, within="reference") if raw is not None else None,
        params=parse_object(form.json("params"), name="params"),
        metadata=parse_object(form.json("metadata"), name="metadata"),
        priority=read_priority(form.texts.get("priority")),
        policy=policy,
    )
    return replace(submission, webhook=webhook)


def from_json(raw: bytes, *, policy: UrlPolicy, hooks: WebhookPolicy) -> Submission:
    """The job that a JSON body asks for.

    Args:
        raw: the body.
        policy: from where images may be fetched.
        hooks: who may be told.

    Raises:
        RequestError: broken JSON, or a field is missing, wrong, or does not go with the operation.
        EmbeddingError: the reference embedding cannot be compared.
        ImageError: the reference is empty.
    """
    body = parse(JobSubmission, raw)
    if (body.image is None) == (body.images is None):
        _refuse("image", "this is required, or images in its place" if body.image is None else "give image or images")
    first, *others = [body.image] if body.image is not None else body.images or []
    url = first.url
    webhook = checked_webhook(body.webhook, hooks=hooks, events=JOB_EVENTS)
    submission = compose(
        operation=body.operation,
        image=b"" if first.base64 is None else decoded(first.base64, field="image.base64"),
        image_url=None if url is None else str(policy.check(url, field="image.url")),
        extra_images=tuple(_further(source, index) for index, source in enumerate(others, 1)),
        reference=None,
        source=body.reference,
        params=body.params,
        metadata=body.metadata,
        priority=body.priority,
        policy=policy,
    )
    return replace(submission, webhook=webhook)


def read_webhook_spec(text: str | None, *, hooks: WebhookPolicy, events: tuple[EventType, ...]) -> Webhook | None:
    """The webhook of a form's field, checked; None where there is none.

    Raises:
        RequestError: as `checked_webhook`; or the text is not JSON.
    """
    return checked_webhook(
        parse(WebhookSpec, text, within="webhook") if text is not None else None, hooks=hooks, events=events
    )


def checked_webhook(spec: WebhookSpec | None, *, hooks: WebhookPolicy, events: tuple[EventType, ...]) -> Webhook | None:
    """The webhook that was asked for; None where none was.

    Args:
        spec: as it was sent.
        hooks: who may be told.
        events: what can be told of here.

    Raises:
        RequestError: `webhooks_off`, `webhook_url_refused`, or it is not valid.
    """
    if spec is None:
        return None
    hooks.check_own()
    hooks.check_url(spec.url, field="webhook.url")
    hooks.check_headers(spec.headers, field="webhook.headers")
    asked = tuple(dict.fromkeys(spec.events or events))
    wrong = [event.value for event in asked if event not in events]
    if wrong:
        _refuse("webhook.events", f"{wrong[0]} does not happen here; what does: {', '.join(events)}")
    return Webhook(
        url=spec.url,
        events=asked,
        payload=spec.payload,
        include_embeddings=spec.include_embeddings,
        headers=spec.headers,
    )


def check_size(vector: Collection[float], workers: Collection[WorkerInfo], *, name: str) -> None:
    """Refuse an embedding that no worker can compare; without workers, that is seen when the job runs.

    Raises:
        EmbeddingError: `invalid_embedding`.
    """
    sizes = {worker.embedding_size for worker in workers}
    if sizes and len(vector) not in sizes:
        known = " or ".join(map(str, sorted(sizes)))
        raise EmbeddingError(
            ErrorCode.INVALID_EMBEDDING, f"{name} has {len(vector)} numbers; the models here make {known}."
        )


def compose(
    *,
    operation: Operation,
    image: bytes,
    image_url: str | None,
    extra_images: tuple[bytes, ...] = (),
    reference: bytes | None,
    source: ReferenceSource | None,
    params: dict[str, Any],
    metadata: dict[str, Any],
    priority: Priority,
    policy: UrlPolicy,
) -> Submission:
    """A submission of parts that were read, each checked, and together.

    Raises:
        RequestError: a part is wrong, or does not go with the operation.
        EmbeddingError: the reference embedding cannot be compared.
        ImageError: the reference is empty.
    """
    read_operation(operation)
    _check_finite(params)
    if params.get("reference_embedding") is not None:
        _refuse("params.reference_embedding", 'give it as reference: {"embedding": {"vector": [...]}}')
    checked = parse_params(operation, params)
    if isinstance(checked, RegisterParams):
        _check_register(checked, images=1 + len(extra_images))
    elif extra_images:
        _refuse("image", f"{operation} takes one image; only register takes several")
    check_metadata(metadata)
    if source is not None and source.base64 is not None:
        reference = decoded(source.base64, field="reference.base64")
    url = source.url if source is not None else None
    reference_url = None if url is None else str(policy.check(url, field="reference.url"))
    embedding = source.embedding if source is not None else None
    given = reference is not None or embedding is not None or reference_url is not None
    if operation is not Operation.VERIFY and given:
        _refuse("reference", f"{operation} takes no reference; only verify does")
    if operation is Operation.VERIFY and not given:
        _refuse("reference", "verify needs a reference: a second image or an embedding")
    if reference == b"":
        raise ImageError(ErrorCode.EMPTY_IMAGE, "The reference is empty: it has no bytes.")
    if embedding is not None:
        checked = _with_embedding(checked, embedding)
    return Submission(
        operation=operation,
        image=image,
        image_url=image_url,
        params=checked,
        metadata=metadata,
        reference=reference or b"",
        extra_images=extra_images,
        reference_url=reference_url,
        priority=priority,
    )


def _check_register(params: RegisterParams, *, images: int) -> None:
    if images > MAX_IMAGES:
        _refuse("image", f"given {images} times; a registration takes at most {MAX_IMAGES}")
    if params.min_images > images:
        _refuse("params.min_images", f"asks for {params.min_images} images; there are {images}")
    for index, known in enumerate(params.known_embeddings):
        checked_vector(known.vector, name=f"params.known_embeddings.{index}")


def _further(source: ImageSource, index: int) -> bytes:
    if source.base64 is None:
        _refuse(f"images.{index}.url", "only the first image may be an address; give the others as base64")
    return decoded(source.base64, field=f"images.{index}.base64")


def _with_embedding(params: FindParams, embedding: ReferenceVector) -> VerifyParams:
    vector = list(checked_vector(embedding.vector, name="The reference embedding"))
    kept = ReferenceEmbedding(
        vector=vector,
        contract=embedding.contract,
        length=embedding.length,
        recognisability=embedding.recognisability,
    )
    return VerifyParams(**params.model_dump(exclude={"reference_embedding"}), reference_embedding=kept)


def read_operation(text: str | None) -> Operation:
    """The operation of this name.

    Raises:
        RequestError: `invalid_request`.
    """
    found = next((operation for operation in SUBMITTABLE if operation == text), None)
    if found is None:
        _refuse("operation", f"must be one of {', '.join(SUBMITTABLE)}")
    return found


def read_priority(text: str | None) -> Priority:
    """The priority of this name; normal where there is none.

    Raises:
        RequestError: `invalid_request`.
    """
    try:
        return Priority(text or Priority.NORMAL)
    except ValueError:
        _refuse("priority", f"must be one of {', '.join(Priority)}")


def _check_finite(params: dict[str, Any]) -> None:
    try:
        json.dumps(params, allow_nan=False)
    except ValueError:
        _refuse("params", "holds a number or a character that JSON does not have")


def check_metadata(metadata: dict[str, Any]) -> None:
    """Refuse metadata that cannot be kept.

    Raises:
        RequestError: `invalid_request`.
    """
    try:
        size = len(json.dumps(metadata, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode())
    except ValueError:
        _refuse("metadata", "holds a number or a character that JSON does not have")
    if size > MAX_METADATA_BYTES:
        _refuse("metadata", f"has {size} bytes; at most {MAX_METADATA_BYTES} are kept")


def _refuse(field: str, detail: str) -> NoReturn:
    raise RequestError(ErrorCode.INVALID_REQUEST, "The job is not valid.", fields=(FieldError(field, detail),))
