"""What a span is: one piece of work in a trace, or nothing where tracing is off."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol

Kind = Literal["internal", "server", "client", "consumer"]
Attributes = Mapping[str, str | int | float | bool | None]
"""What is known of a span; what is None is left out."""


class Span(Protocol):
    """One piece of work."""

    @property
    def traceparent(self) -> str | None:
        """Its place in the trace, for what it causes."""

    def name(self, name: str) -> None:
        """Call it so, now that it is known."""

    def note(self, attributes: Attributes) -> None:
        """More of it that is known now."""

    def fail(self, word: str) -> None:
        """It came to nothing, and why, in a word."""


class Tracer(Protocol):
    """Makes spans. `parent` is a `traceparent`; without one a trace begins. Times are seconds since the epoch."""

    def span(
        self, name: str, *, parent: str | None, kind: Kind, attributes: Attributes
    ) -> AbstractContextManager[Span]:
        """The time of the block."""

    def past(self, name: str, *, parent: str | None, begin: float, end: float, attributes: Attributes) -> None:
        """Something that is over."""

    def close(self) -> None:
        """Send what there is, for a short while."""


class _Nothing:
    """No span."""

    traceparent = None

    def name(self, name: str) -> None:
        pass

    def note(self, attributes: Attributes) -> None:
        pass

    def fail(self, word: str) -> None:
        pass


NOTHING: Final[Span] = _Nothing()
NONE: Final[Attributes] = {}
