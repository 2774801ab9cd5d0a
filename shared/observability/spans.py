"""Protocols of spans and tracers, and the span that does nothing if tracing is off."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol

Kind = Literal["internal", "server", "client", "consumer"]
Attributes = Mapping[str, str | int | float | bool | None]
"""Attributes of a span. Those that are None are omitted."""


class Span(Protocol):
    """A unit of work in a trace."""

    @property
    def traceparent(self) -> str | None:
        """Position in the trace, for child spans in other processes."""

    def name(self, name: str) -> None:
        """Rename the span."""

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""

    def fail(self, word: str) -> None:
        """Mark the span as failed; `word` is the reason."""


class Tracer(Protocol):
    """Creates spans. `parent` is a `traceparent`; None starts a new trace. Times are seconds since the epoch."""

    def span(
        self, name: str, *, parent: str | None, kind: Kind, attributes: Attributes
    ) -> AbstractContextManager[Span]:
        """Record the block as a span."""

    def past(self, name: str, *, parent: str | None, begin: float, end: float, attributes: Attributes) -> None:
        """Record a span that has already ended."""

    def close(self) -> None:
        """Send the remaining spans, within a short time."""


class _Nothing:
    """A span that does nothing."""

    traceparent = None

    def name(self, name: str) -> None:
        pass

    def note(self, attributes: Attributes) -> None:
        pass

    def fail(self, word: str) -> None:
        pass


NOTHING: Final[Span] = _Nothing()
NONE: Final[Attributes] = {}
