"""Submits a batch: checks each item by itself, and stores all jobs in one step."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NoReturn

import structlog

from api.batches.schemas import BatchSubmission, ItemFields
from api.http.forms import Form, FormFields, parse, parse_object
from api.images.base64_text import decoded
from api.jobs.parsing import check_metadata, checked_webhook, compose, read_operation, read_priority, read_webhook_spec
from api.jobs.schemas import ReferenceSource
from api.jobs.submit import limits, new_job
from api.settings.api import ApiSettings
from api.settings.webhook_urls import WebhookPolicy
from shared.dispatch import Doorbell
from shared.errors import ErrorCode, FieldError, RequestError
from shared.jobs import JobFailure, NewJob, Priority, new_batch_id, new_job_id, shard_of
from shared.ledger.batches.store import Batches
from shared.ledger.idempotency import NO_KEY, Reservation
from shared.observability import request_context
from shared.operations import Operation
from shared.tenants import Grant
from shared.webhooks.schemas import EventType, Webhook

IMAGES: Final = "images"
FORM_FIELDS: Final = FormFields(
    files=frozenset({IMAGES}),
    texts=frozenset({"operation", "params", "priority", "metadata", "items", "webhook"}),
    repeated=IMAGES,
)
EVENTS: Final = (EventType.BATCH_COMPLETED,)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """One item as the client sent it. It is validated when its job is created."""

    operation: Operation
    params: Mapping[str, Any]
    metadata: Mapping[str, Any]
    reference: ReferenceSource | None
    image: bytes = b""
    base64: str | None = None
    url: str | None = None

    @property
    def content(self) -> dict[str, Any]:
        """The item as JSON-compatible data, with the image as bytes."""
        return {
            "operation": self.operation.value,
            "params": dict(self.params),
            "metadata": dict(self.metadata),
            "reference": None if self.reference is None else self.reference.model_dump(mode="json"),
            "image": self.url or self.base64 or self.image,
        }


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """A batch as requested by the caller."""

    items: Sequence[Item]
    metadata: Mapping[str, Any]
    priority: Priority
    webhook: Webhook | None = None

    @property
    def content(self) -> dict[str, Any]:
        """The batch as JSON-compatible data, with the images as bytes."""
        return {
            "items": [item.content for item in self.items],
            "metadata": dict(self.metadata),
            "priority": self.priority.value,
            **({} if self.webhook is None else {"webhook": asdict(self.webhook)}),
        }


def from_form(form: Form, *, most: int, hooks: WebhookPolicy) -> BatchOrder:
    """Parse a multipart body: the image files in order, with fields for all items and for each item.

    Raises:
        RequestError: the request as a whole is invalid.
    """
    texts, images, listed = form.texts, form.files.get(IMAGES, ()), form.json("items")
    operation = read_operation(texts["operation"]) if "operation" in texts else None
    params = parse_object(form.json("params"), name="params")
    metadata = parse_object(form.json("metadata"), name="metadata")
    check_metadata(metadata)
    fields = [] if listed is None else parse(list[ItemFields], listed, within="items")
    _check_count(len(images), most=most, field=IMAGES)
    if fields and len(fields) != len(images):
        _refuse(
            "items", f"has {len(fields)} entries for {len(images)} images; send one entry per image, in the same order"
        )
    items = [
        _item(number, each, operation=operation, params=params, image=image)
        for number, (image, each) in enumerate(zip(images, fields or [ItemFields()] * len(images), strict=True))
    ]
    webhook = read_webhook_spec(form.json("webhook"), hooks=hooks, events=EVENTS)
    return BatchOrder(items, metadata, read_priority(texts.get("priority")), webhook)


def from_manifest(raw: bytes, *, most: int, hooks: WebhookPolicy) -> BatchOrder:
    """Parse a JSON body.

    Raises:
        RequestError: the request as a whole is invalid.
    """
    body = parse(BatchSubmission, raw)
    check_metadata(body.metadata)
    _check_count(len(body.items), most=most, field="items")
    items = [
        _item(
            number,
            each,
            operation=body.operation,
            params=body.params,
            base64=each.image.base64,
            url=each.image.url,
        )
        for number, each in enumerate(body.items)
    ]
    webhook = checked_webhook(body.webhook, hooks=hooks, events=EVENTS)
    return BatchOrder(items, body.metadata, body.priority, webhook)


def new_id(shards: int, *, shard: int | None = None) -> str:
    """Create a batch id, on the given shard or a random one."""
    chosen = secrets.randbelow(shards) if shard is None else shard
    return new_batch_id(shard=chosen, now_ms=_now_ms())


def submit(
    order: BatchOrder,
    *,
    batch_id: str,
    batches: Batches,
    doorbell: Doorbell,
    settings: ApiSettings,
    tenant: str,
    grant: Grant,
    quality_policy: Mapping[str, Any],
    under: Reservation = NO_KEY,
) -> None:
    """Accept or reject a batch as a whole; an invalid item becomes a failed job. Blocks.

    Raises:
        RequestError: `idempotency_in_progress`; the batch was not accepted.
        UnavailableError: `queue_full`, `quota_exceeded` or `store_unavailable`; the batch was not accepted.
    """
    jobs = [
        _job(item, order, batch_id=batch_id, settings=settings, tenant=tenant, quality_policy=quality_policy)
        for item in order.items
    ]
    batches.accept(
        batch_id,
        jobs,
        metadata=order.metadata,
        limits=limits(settings, tenant=tenant, grant=grant),
        result_ttl=settings.result_ttl,
        webhook=order.webhook,
        context=request_context.current(),
        under=under,
        tenant=tenant,
    )
    ready = sum(job.refused is None and job.has_images for job in jobs)
    if ready:
        doorbell.ring(times=ready)
    refused = sum(job.refused is not None for job in jobs)
    log.info("batch.submitted", batch_id=batch_id, jobs=len(jobs), refused=refused)


def _job(
    item: Item,
    order: BatchOrder,
    *,
    batch_id: str,
    settings: ApiSettings,
    tenant: str,
    quality_policy: Mapping[str, Any],
) -> NewJob:
    job_id = new_job_id(shard=shard_of(batch_id), now_ms=_now_ms())
    policy = settings.url_policy
    try:
        submission = compose(
            operation=item.operation,
            image=item.image if item.base64 is None else decoded(item.base64, field="image.base64"),
            image_url=None if item.url is None else str(policy.check(item.url, field="image.url")),
            reference=None,
            source=item.reference,
            params=dict(item.params),
            metadata=dict(item.metadata),
            priority=order.priority,
            policy=policy,
        )
        submission = replace(submission, tenant=tenant, quality_policy=quality_policy)
        return new_job(submission, job_id=job_id, settings=settings, result_ttl=settings.result_ttl)
    except RequestError as error:
        return NewJob(
            id=job_id,
            operation=item.operation,
            params={},
            metadata=_valid_metadata(item.metadata),
            result_ttl=settings.result_ttl,
            priority=order.priority,
            tenant=tenant,
            context=request_context.current(),
            refused=JobFailure(error.code, _detail(error)),
        )


def _valid_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of an item that was rejected; empty if the metadata is what was invalid."""
    try:
        check_metadata(dict(metadata))
    except RequestError:
        return {}
    return dict(metadata)


def _detail(error: RequestError) -> str:
    """Why an item was rejected, with its invalid fields: a failed job has no other place for them."""
    return " ".join([error.detail, *(f"{field.field}: {field.detail}." for field in error.fields)])


def _item(
    number: int,
    fields: ItemFields,
    *,
    operation: Operation | None,
    params: Mapping[str, Any],
    image: bytes = b"",
    base64: str | None = None,
    url: str | None = None,
) -> Item:
    chosen = fields.operation or operation
    if chosen is None:
        _refuse("operation", f"is required: neither the batch nor item {number} sets it")
    return Item(
        operation=chosen,
        params=params if fields.params is None else fields.params,
        metadata=fields.metadata,
        reference=fields.reference,
        image=image,
        base64=base64,
        url=url,
    )


def _check_count(count: int, *, most: int, field: str) -> None:
    if not 1 <= count <= most:
        _refuse(field, f"has {count} entries; a batch takes 1 to {most}")


def _refuse(field: str, detail: str) -> NoReturn:
    raise RequestError(ErrorCode.INVALID_REQUEST, "The batch is not valid.", fields=(FieldError(field, detail),))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
