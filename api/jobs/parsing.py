"""Parses the body of `POST /v1/jobs`, multipart or JSON, into a submission."""

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
    """Parse a multipart body.

    Args:
        form: the body.
        policy: which image URLs are allowed.
        hooks: which webhook URLs are allowed.

    Raises:
        RequestError: a field is missing or invalid, or does not apply to the operation.
        EmbeddingError: the reference embedding cannot be compared.
        ImageError: the reference is empty.
    """
    raw = form.json("reference")
    url = form.texts.get("image_url")
    if url is not None and "image" in form.files:
        _refuse("image_url", "give image or image_url, not both")
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
    """Parse a JSON body.

    Args:
        raw: the body.
        policy: which image URLs are allowed.
        hooks: which webhook URLs are allowed.

    Raises:
        RequestError: malformed JSON, or a field is missing or invalid, or does not apply to the operation.
        EmbeddingError: the reference embedding cannot be compared.
        ImageError: the reference is empty.
    """
    body = parse(JobSubmission, raw)
    if (body.image is None) == (body.images is None):
        _refuse("image", "image or images is required" if body.image is None else "give image or images, not both")
    first, *others = [body.image] if body.image is not None else body.images or []
    url = first.url
    webhook = checked_webhook(body.webhook, hooks=hooks, events=JOB_EVENTS)
    submission = compose(
        operation=body.operation,
        image=b"" if first.base64 is None else decoded(first.base64, field="image.base64"),
        image_url=None if url is None else str(policy.check(url, field="image.url")),
        extra_images=tuple(_extra_image(source, index) for index, source in enumerate(others, 1)),
        reference=None,
        source=body.reference,
        params=body.params,
        metadata=body.metadata,
        priority=body.priority,
        policy=policy,
    )
    return replace(submission, webhook=webhook)


def read_webhook_spec(text: str | None, *, hooks: WebhookPolicy, events: tuple[EventType, ...]) -> Webhook | None:
    """Parse and check the webhook field of a form; None if it is absent.

    Raises:
        RequestError: as `checked_webhook`, or the text is not JSON.
    """
    return checked_webhook(
        parse(WebhookSpec, text, within="webhook") if text is not None else None, hooks=hooks, events=events
    )


def checked_webhook(spec: WebhookSpec | None, *, hooks: WebhookPolicy, events: tuple[EventType, ...]) -> Webhook | None:
    """Check the webhook of a request; None if it has none.

    Args:
        spec: the webhook as the client sent it.
        hooks: which webhook URLs are allowed.
        events: the event types that this request can cause.

    Raises:
        RequestError: `webhooks_off`, `webhook_url_refused`, or `invalid_request`.
    """
    if spec is None:
        return None
    hooks.check_own()
    hooks.check_url(spec.url, field="webhook.url")
    hooks.check_headers(spec.headers, field="webhook.headers")
    subscribed = tuple(dict.fromkeys(spec.events or events))
    unsupported = [event.value for event in subscribed if event not in events]
    if unsupported:
        _refuse("webhook.events", f"{unsupported[0]} does not occur here; use {', '.join(events)}")
    return Webhook(
        url=spec.url,
        events=subscribed,
        payload=spec.payload,
        include_embeddings=spec.include_embeddings,
        headers=spec.headers,
    )


def check_size(vector: Collection[float], workers: Collection[WorkerInfo], *, name: str) -> None:
    """Reject an embedding that no worker can compare. Without workers, the check happens when the job runs.

    Raises:
        EmbeddingError: `invalid_embedding`.
    """
    sizes = {worker.embedding_size for worker in workers}
    if sizes and len(vector) not in sizes:
        expected = " or ".join(map(str, sorted(sizes)))
        raise EmbeddingError(
            ErrorCode.INVALID_EMBEDDING, f"{name} has {len(vector)} numbers; the current models use {expected}."
        )


def embeddings_of(params: FindParams) -> dict[str, list[float]]:
    """The embeddings among the parameters, by the name that an error gives them."""
    if isinstance(params, VerifyParams) and params.reference_embedding is not None:
        return {"The reference embedding": params.reference_embedding.vector}
    if isinstance(params, RegisterParams):
        return {f"Known embedding {index}": known.vector for index, known in enumerate(params.known_embeddings)}
    return {}


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
    """Check the parts of a submission, each by itself and all together.

    Raises:
        RequestError: a part is invalid, or does not apply to the operation.
        EmbeddingError: the reference embedding cannot be compared.
        ImageError: the reference is empty.
    """
    read_operation(operation)
    checked = _checked_params(operation, params, images=1 + len(extra_images))
    check_metadata(metadata)
    reference, reference_url, embedding = _read_reference(operation, reference, source, policy=policy)
    if embedding is not None:
        checked = _with_embedding(checked, embedding)
    return Submission(
        operation=operation,
        image=image,
        image_url=image_url,
        params=checked,
        metadata=metadata,
        reference=reference,
        extra_images=extra_images,
        reference_url=reference_url,
        priority=priority,
    )


def _checked_params(operation: Operation, params: dict[str, Any], *, images: int) -> FindParams:
    _check_finite(params)
    if params.get("reference_embedding") is not None:
        _refuse("params.reference_embedding", 'use reference: {"embedding": {"vector": [...]}} instead')
    checked = parse_params(operation, params)
    if isinstance(checked, RegisterParams):
        _check_register(checked, images=images)
    elif images > 1:
        _refuse("image", f"{operation} takes one image; only register takes several")
    return checked


def _read_reference(
    operation: Operation, image: bytes | None, source: ReferenceSource | None, *, policy: UrlPolicy
) -> tuple[bytes, str | None, ReferenceVector | None]:
    """The reference as image, URL, and embedding, of which at most one is set."""
    if source is not None and source.base64 is not None:
        image = decoded(source.base64, field="reference.base64")
    url = source.url if source is not None else None
    checked_url = None if url is None else str(policy.check(url, field="reference.url"))
    embedding = source.embedding if source is not None else None
    given = image is not None or checked_url is not None or embedding is not None
    if operation is not Operation.VERIFY and given:
        _refuse("reference", f"{operation} takes no reference; only verify does")
    if operation is Operation.VERIFY and not given:
        _refuse("reference", "verify needs a reference: a second image or an embedding")
    if image == b"":
        raise ImageError(ErrorCode.EMPTY_IMAGE, "The reference is empty.")
    return image or b"", checked_url, embedding


def _check_register(params: RegisterParams, *, images: int) -> None:
    if images > MAX_IMAGES:
        _refuse("image", f"{images} images were sent; a registration takes at most {MAX_IMAGES}")
    if params.min_images > images:
        _refuse("params.min_images", f"is {params.min_images}, but the number of images is {images}")
    for index, known in enumerate(params.known_embeddings):
        checked_vector(known.vector, name=f"params.known_embeddings.{index}")


def _extra_image(source: ImageSource, index: int) -> bytes:
    if source.base64 is None:
        _refuse(f"images.{index}.url", "only the first image may be a URL; send the others as base64")
    return decoded(source.base64, field=f"images.{index}.base64")


def _with_embedding(params: FindParams, embedding: ReferenceVector) -> VerifyParams:
    vector = list(checked_vector(embedding.vector, name="The reference embedding"))
    reference = ReferenceEmbedding(
        vector=vector,
        contract=embedding.contract,
        length=embedding.length,
        recognisability=embedding.recognisability,
    )
    return VerifyParams(**params.model_dump(exclude={"reference_embedding"}), reference_embedding=reference)


def read_operation(text: str | None) -> Operation:
    """Parse the name of an operation.

    Raises:
        RequestError: `invalid_request`.
    """
    operation = next((operation for operation in SUBMITTABLE if operation == text), None)
    if operation is None:
        _refuse("operation", f"must be one of {', '.join(SUBMITTABLE)}")
    return operation


def read_priority(text: str | None) -> Priority:
    """Parse the name of a priority; normal if it is absent.

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
        _refuse("params", "contains a number or a character that JSON cannot represent")


def check_metadata(metadata: dict[str, Any]) -> None:
    """Reject metadata that is not valid JSON or too large.

    Raises:
        RequestError: `invalid_request`.
    """
    try:
        size = len(json.dumps(metadata, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode())
    except ValueError:
        _refuse("metadata", "contains a number or a character that JSON cannot represent")
    if size > MAX_METADATA_BYTES:
        _refuse("metadata", f"is {size} bytes as JSON; the maximum is {MAX_METADATA_BYTES}")


def _refuse(field: str, detail: str) -> NoReturn:
    raise RequestError(ErrorCode.INVALID_REQUEST, "The job is not valid.", fields=(FieldError(field, detail),))
