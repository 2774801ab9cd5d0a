"""A job's record as the ledger keeps it: its fields written as text, and read again."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
from typing import Any

from pydantic_core import from_json, to_json

from shared.errors import ErrorCode
from shared.jobs import Job, JobFailure, Provenance, Status
from shared.operations import Operation

_PROVENANCE = frozenset(field.name for field in fields(Provenance))


def failure_json(failure: JobFailure | None) -> str:
    """A failure, or `null`."""
    return json.dumps(asdict(failure) if failure else None)


def provenance_json(provenance: Provenance | None) -> str:
    """A provenance, or `null`."""
    return json.dumps(asdict(provenance) if provenance else None)


def result_json(result: Mapping[str, Any] | None) -> bytes:
    """A result, or `null`. pydantic's writer takes a tenth of the standard one's time on embeddings."""
    return to_json(result)


def read_job(raw: Mapping[bytes, bytes]) -> Job:
    """The job of these fields; what a newer worker says of its provenance beyond ours is left out."""
    found = {name.decode(): value for name, value in raw.items()}
    number: Callable[[str], float | None] = partial(_number, found)
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
        error=JobFailure(**{**error, "code": ErrorCode(error["code"])}) if error else None,
        metrics=json.loads(found.get("metrics", b"{}")),
        provenance=Provenance(**{name: provenance[name] for name in _PROVENANCE & provenance.keys()})
        if provenance
        else None,
    )


def _number(found: Mapping[str, bytes], name: str) -> float | None:
    return float(found[name]) if name in found else None
