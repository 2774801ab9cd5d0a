"""A job's record as the ledger keeps it: its fields written as text, and read again."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any, TypeVar

import structlog
from pydantic_core import from_json, to_json

from shared.causes import Cause
from shared.errors import ErrorCode
from shared.job_content import EMBEDDINGS, outlined
from shared.jobs import Batch, BatchStatus, Job, JobFailure, NewJob, Priority, Provenance, Status, Transition
from shared.operations import Operation
from shared.tenants import DEFAULT

R = TypeVar("R")
T = TypeVar("T")

log = structlog.get_logger(__name__)

_PROVENANCE = frozenset(field.name for field in fields(Provenance))


def readable(kind: str, rows: Iterable[R], read: Callable[[R], T]) -> Iterator[T]:
    """Read each row that can be read; log the others, so that one bad record does not hide the rest of a list."""
    for row in rows:
        try:
            yield read(row)
        except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError) as error:
            log.warning("record.unreadable", kind=kind, error=type(error).__name__)


def failure_json(failure: JobFailure | None) -> str:
    """A failure, or `null`."""
    return json.dumps(asdict(failure) if failure else None)


def provenance_json(provenance: Provenance | None) -> str:
    """A provenance, or `null`."""
    return json.dumps(asdict(provenance) if provenance else None)


def result_json(result: Mapping[str, Any] | None) -> bytes:
    """A result, or `null`. pydantic's writer takes a tenth of the standard one's time on embeddings."""
    return to_json(result)


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """What a script gives of a hash, as one."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def new_job_json(job: NewJob, *, staged: bool = False) -> str:
    """A job that is to be accepted as `scripts/common.lua` reads it: the fields of its record as texts, and the rest.

    `staged` names its images, for a step that finds them in the store already.
    """
    record = {
        "id": job.id,
        "operation": job.operation.value,
        "params": json.dumps(outlined(job.params)),
        "metadata": json.dumps(dict(job.metadata)),
        "priority": job.priority.value,
        "tenant": tenant_text(job.tenant),
        "ttl": str(max(1, round(job.result_ttl.total_seconds()))),
        "image_origin": job.image_origin,
        "reference_origin": job.reference_origin,
        "webhook": None if job.webhook is None else json.dumps(dict(job.webhook)),
        **job.cause.texts,
        "session": job.session,
    }
    images = {"image": job.image, "reference": job.reference, "more": job.more}
    urls = _without_none({"image": job.image_url, "reference": job.reference_url})
    embeddings = {name: job.params[name] for name in EMBEDDINGS if job.params.get(name)}
    more = {
        "embeddings": json.dumps(embeddings) if embeddings else None,
        "urls": urls or None,
        "start_within": None if job.start_within is None else job.start_within.total_seconds(),
        "refused": None if job.refused is None else failure_json(job.refused),
        "staged": [kind for kind, data in images.items() if data] if staged else None,
    }
    return json.dumps({"fields": _without_none(record), **_without_none(more)})


def tenant_text(tenant: str) -> str | None:
    """A tenant as records have it: the default's say nothing, as those do of before there were tenants."""
    return None if tenant == DEFAULT else tenant


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def read_batch(raw: Mapping[bytes, bytes]) -> Batch:
    """The batch of these fields."""
    found = {name.decode(): value for name, value in raw.items()}
    return Batch(
        id=found["id"].decode(),
        status=BatchStatus(found["status"].decode()),
        created_at=float(found["created_at"]),
        total=int(found["total"]),
        counts={status: int(found.get(status.value, b"0")) for status in Status},
        metadata=json.loads(found.get("metadata", b"{}")),
        tenant=_text(found, "tenant") or DEFAULT,
        finished_at=_number(found, "finished_at"),
        expires_at=_number(found, "expires_at"),
    )


def read_job(raw: Mapping[bytes, bytes]) -> Job:
    """The job of these fields; what a newer version says beyond ours is left out.

    Raises:
        ValueError: its operation, status or priority is one that only a newer version knows.
    """
    found = {name.decode(): value for name, value in raw.items()}
    number: Callable[[str], float | None] = partial(_number, found)
    text: Callable[[str], str | None] = partial(_text, found)
    error = json.loads(found.get("error", b"null"))
    provenance = json.loads(found.get("provenance", b"null"))
    return Job(
        id=found["id"].decode(),
        operation=Operation(found["operation"].decode()),
        status=Status(found["status"].decode()),
        created_at=float(found["created_at"]),
        params=json.loads(found["params"]),
        metadata=json.loads(found["metadata"]),
        attempts=int(found["attempts"]),
        started_at=number("started_at"),
        finished_at=number("finished_at"),
        expires_at=number("expires_at"),
        result=from_json(found.get("result", b"null")),
        error=_failure(error) if error else None,
        metrics=json.loads(found.get("metrics", b"{}")),
        provenance=Provenance(**{name: provenance[name] for name in _PROVENANCE & provenance.keys()})
        if provenance
        else None,
        priority=Priority(text("priority") or Priority.NORMAL),
        tenant=text("tenant") or DEFAULT,
        start_by=number("start_by"),
        batch=text("batch"),
        retry_of=text("retry_of"),
        retried_as=text("retried_as"),
        image_origin=text("image_origin"),
        reference_origin=text("reference_origin"),
        webhook=json.loads(found["webhook"]) if "webhook" in found else None,
        cause=Cause(text("request_id"), text("traceparent")),
        history=_history(found.get("history", b"")),
    )


def with_embeddings(job: Job, embeddings: bytes | None) -> Job:
    """The job with the embeddings of its parameters, which are kept apart: lists need only their outline."""
    return job if embeddings is None else replace(job, params={**job.params, **json.loads(embeddings)})


def _failure(error: Mapping[str, Any]) -> JobFailure:
    known = error["code"] in frozenset(ErrorCode)
    code = ErrorCode(error["code"]) if known else ErrorCode.INTERNAL_ERROR
    return JobFailure(code, error["detail"], retryable=error["retryable"])


def _history(written: bytes) -> tuple[Transition, ...]:
    steps = (step.split(" ") for step in written.decode().split(";") if step)
    return tuple(Transition(number, Status(status), float(at)) for number, (status, at) in enumerate(steps, 1))


def _text(found: Mapping[str, bytes], name: str) -> str | None:
    return found[name].decode() if name in found else None


def _number(found: Mapping[str, bytes], name: str) -> float | None:
    return float(found[name]) if name in found else None
