"""What a job, a callback and a line of the log are owed to: a request, and the trace that it is part of."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import structlog

TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""W3C Trace Context, version 00; a later version begins with the same fields, but need not be understood."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request, and its place in its trace as W3C Trace Context writes it (`traceparent`)."""

    request_id: str | None = None
    traceparent: str | None = None

    @property
    def trace_id(self) -> str | None:
        """32 hexadecimal digits."""
        return None if self.traceparent is None else self.traceparent.split("-")[1]

    @property
    def texts(self) -> dict[str, str]:
        """What is known of it, as a record keeps it."""
        known = {"request_id": self.request_id, "traceparent": self.traceparent}
        return {name: value for name, value in known.items() if value is not None}


UNKNOWN: Final = RequestContext()
_current: ContextVar[RequestContext] = ContextVar("request_context", default=UNKNOWN)


def current() -> RequestContext:
    """What this code runs for."""
    return _current.get()


def read_traceparent(text: str) -> str | None:
    """A client's header, or None where it is none that we understand: then a trace of our own begins."""
    return text if TRACEPARENT.fullmatch(text) else None


@contextmanager
def bind_request_context(context: RequestContext, **more: str) -> Iterator[None]:
    """Bind `context` for the block: records made in it carry the context, and log lines carry it and `more`."""
    ids = {"request_id": context.request_id, "trace_id": context.trace_id}
    known = {name: value for name, value in ids.items() if value is not None}
    token = _current.set(context)
    try:
        with structlog.contextvars.bound_contextvars(**known, **more):
            yield
    finally:
        _current.reset(token)
