"""The request, and its trace, that a job, a callback or a log entry goes back to."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import structlog

TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""W3C Trace Context, version 00. Later versions start with the same fields but need not be supported."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request and its position in a trace, as a W3C `traceparent`."""

    request_id: str | None = None
    traceparent: str | None = None

    @property
    def trace_id(self) -> str | None:
        """Id of the trace, 32 hexadecimal digits."""
        return None if self.traceparent is None else self.traceparent.split("-")[1]

    @property
    def texts(self) -> dict[str, str]:
        """The fields for a record, without those that are None."""
        fields = {"request_id": self.request_id, "traceparent": self.traceparent}
        return {name: value for name, value in fields.items() if value is not None}


UNKNOWN: Final = RequestContext()
_current: ContextVar[RequestContext] = ContextVar("request_context", default=UNKNOWN)


def current() -> RequestContext:
    """Return the request that the current code runs for."""
    return _current.get()


def read_traceparent(text: str) -> str | None:
    """Return a client's `traceparent` header, or None if it is not supported; a new trace then starts."""
    return text if TRACEPARENT.fullmatch(text) else None


@contextmanager
def bind_request_context(context: RequestContext, **more: str) -> Iterator[None]:
    """Bind `context` for the block: records created in it store the context, and log entries carry it and `more`."""
    ids = {"request_id": context.request_id, "trace_id": context.trace_id}
    bound = {name: value for name, value in ids.items() if value is not None}
    token = _current.set(context)
    try:
        with structlog.contextvars.bound_contextvars(**bound, **more):
            yield
    finally:
        _current.reset(token)
