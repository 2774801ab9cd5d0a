"""The record of a job: a codec that writes and reads each field of `Job` by its name and type."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from types import NoneType
from typing import Any, Final, TypeVar, get_args, get_type_hints

import structlog
from pydantic_core import from_json, to_json

from shared.errors import ErrorCode
from shared.job_content import EMBEDDINGS, outlined
from shared.jobs import (
    BIRTH_FIELDS,
    Batch,
    BatchStatus,
    Job,
    JobFailure,
    NewJob,
    Priority,
    Provenance,
    Status,
    Transition,
)
from shared.observability.request_context import RequestContext
from shared.operations import Operation
from shared.webhooks.schemas import Webhook, read_webhook, webhook_json

R = TypeVar("R")
T = TypeVar("T")

log = structlog.get_logger(__name__)


def readable(kind: str, rows: Iterable[R], read: Callable[[R], T]) -> Iterator[T]:
    """Yield the rows that can be read. Log the others, so that one bad record does not hide the rest of a list."""
    for row in rows:
        try:
            yield read(row)
        except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError) as error:
            log.warning("record.unreadable", kind=kind, error=type(error).__name__)


def failure_json(failure: JobFailure | None) -> str:
    """Encode a failure, or None as `null`."""
    return json.dumps(asdict(failure) if failure else None)


def provenance_json(provenance: Provenance | None) -> str:
    """Encode a provenance, or None as `null`."""
    return json.dumps(asdict(provenance) if provenance else None)


def result_json(result: Mapping[str, Any] | None) -> bytes:
    """Encode a result, or None as `null`. For embeddings, pydantic takes a tenth of the time of `json`."""
    return to_json(result)


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Convert a hash from a script's reply, a flat list of names and values, to a dict."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def new_job_json(job: NewJob, *, staged: bool = False) -> str:
    """Encode a new job for `scripts/common.lua`: the fields of its record as texts, and data that is stored elsewhere.

    With `staged`, include the names of its images, which are already in the store.
    """
    record = {name: write(value) for name, write in _BIRTH if (value := getattr(job, name)) is not None}
    record["ttl"] = str(max(1, round(job.result_ttl.total_seconds())))
    record |= job.context.texts
    if job.image_origin is not None:
        record["image_origin"] = job.image_origin
    if job.reference_origin is not None:
        record["reference_origin"] = job.reference_origin
    images = {"image": job.image, "reference": job.reference, "extra_images": job.extra_images}
    urls = _without_none({"image": job.image_url, "reference": job.reference_url})
    embeddings = {name: job.params[name] for name in EMBEDDINGS if job.params.get(name)}
    others = {
        "embeddings": json.dumps(embeddings) if embeddings else None,
        "urls": urls or None,
        "start_within": None if job.start_within is None else job.start_within.total_seconds(),
        "refused": None if job.refused is None else failure_json(job.refused),
        "staged": [kind for kind, data in images.items() if data] if staged else None,
    }
    return json.dumps({"fields": record, **_without_none(others)})


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def read_job(raw: Mapping[bytes, bytes]) -> Job:
    """Decode the record of a job. Fields of newer versions are ignored.

    Raises:
        ValueError: a field cannot be read, such as an operation of a newer version.
        LookupError: a required field is missing.
    """
    request_id, traceparent = raw.get(b"request_id"), raw.get(b"traceparent")
    return Job(
        context=RequestContext(
            None if request_id is None else request_id.decode(), None if traceparent is None else traceparent.decode()
        ),
        **{name: read(raw[key]) for name, key, read in _ALWAYS},
        **{name: read(raw[key]) for name, key, read in _WHERE_SET if key in raw},
    )


def with_embeddings(job: Job, embeddings: bytes | None) -> Job:
    """Return the job with the embeddings of its parameters, which are stored apart: lists need only their outline."""
    return job if embeddings is None else replace(job, params={**job.params, **json.loads(embeddings)})


def read_batch(raw: Mapping[bytes, bytes]) -> Batch:
    """Decode the record of a batch."""
    record = {name.decode(): value for name, value in raw.items()}
    return Batch(
        id=record["id"].decode(),
        status=BatchStatus(record["status"].decode()),
        created_at=float(record["created_at"]),
        total=int(record["total"]),
        counts={status: int(record.get(status.value, b"0")) for status in Status},
        metadata=json.loads(record["metadata"]),
        tenant=record["tenant"].decode(),
        finished_at=float(record["finished_at"]) if "finished_at" in record else None,
        expires_at=float(record["expires_at"]) if "expires_at" in record else None,
    )


def _read_failure(text: bytes) -> JobFailure | None:
    failure = json.loads(text)
    if failure is None:
        return None
    code = ErrorCode(failure["code"]) if failure["code"] in _CODES else ErrorCode.INTERNAL_ERROR
    return JobFailure(code, failure["detail"], retryable=failure["retryable"])


def _read_provenance(text: bytes) -> Provenance | None:
    provenance = json.loads(text)
    return provenance and Provenance(**{name: provenance[name] for name in _PROVENANCE & provenance.keys()})


def _read_history(text: bytes) -> tuple[Transition, ...]:
    steps = (step.split(" ") for step in text.decode().split(";") if step)
    return tuple(Transition(number, Status(status), float(at)) for number, (status, at) in enumerate(steps, 1))


_CODES: Final = frozenset(ErrorCode)
_PROVENANCE: Final = frozenset(field.name for field in fields(Provenance))
_READERS: Final[Mapping[Any, Callable[[bytes], Any]]] = {
    str: bytes.decode,
    int: int,
    float: float,
    Operation: lambda text: Operation(text.decode()),
    Status: lambda text: Status(text.decode()),
    Priority: lambda text: Priority(text.decode()),
    Webhook: read_webhook,
    JobFailure: _read_failure,
    Provenance: _read_provenance,
    tuple[Transition, ...]: _read_history,
    Mapping[str, Any]: json.loads,
    Mapping[str, float]: json.loads,
    dict[str, Any]: from_json,  # the result, whose embeddings are long
}
_WRITERS: Final[Mapping[Any, Callable[[Any], str]]] = {
    str: str,
    Operation: str,
    Priority: str,
    Webhook: webhook_json,
    Mapping[str, Any]: lambda value: json.dumps(dict(value)),
}
"""Only fields of a new job are written here. The scripts write the others."""


def _of_type(codecs: Mapping[Any, T], hint: Any) -> T:
    """Return the codec of a type or optional type. A missing codec is a bug that shows at import."""
    return codecs[next(each for each in get_args(hint) if each is not NoneType) if _may_be_none(hint) else hint]


def _may_be_none(hint: Any) -> bool:
    return NoneType in get_args(hint)


_HINTS: Final = {name: hint for name, hint in get_type_hints(Job).items() if hint is not RequestContext}
_ALWAYS: Final = tuple(
    (name, name.encode(), _of_type(_READERS, hint)) for name, hint in _HINTS.items() if not _may_be_none(hint)
)
"""Required fields of a record."""
_WHERE_SET: Final = tuple(
    (name, name.encode(), _of_type(_READERS, hint)) for name, hint in _HINTS.items() if _may_be_none(hint)
)
"""Optional fields of a record, absent while they are None."""
_BIRTH: Final = tuple(
    (name, _of_type(_WRITERS, hint) if name != "params" else lambda params: json.dumps(outlined(params)))
    for name, hint in _HINTS.items()
    if name in BIRTH_FIELDS
)
LISTED_FIELDS: Final = (*(name for name in _HINTS if name != "result"), "request_id", "traceparent")
"""Fields that lists read: all but the result."""
RETRIED_FIELDS: Final = (
    *sorted(BIRTH_FIELDS - {"id", "context", "session"}),
    "ttl",
    "image_origin",
    "reference_origin",
)
"""Fields that a retry copies from the failed job."""
