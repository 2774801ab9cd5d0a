"""The channels on which the ledger publishes transitions, and their messages."""

from collections.abc import Sequence
from typing import Final

from shared.jobs import Status
from shared.ledger import keys

STATUSES: Final = frozenset(Status)


def event(message: bytes) -> tuple[str, Status | None]:
    """Parse a message: the id of a job, batch or session, and the new status of the job.

    The status is None if the subject is not a job or is a job that was erased.
    """
    subject, word = message.decode().split(" ", 1)
    return subject, read_status(word)


def read_status(word: str) -> Status | None:
    """Return the status of a job, or None for any other word."""
    return Status(word) if word in STATUSES else None


def completion_channels(shards: int) -> Sequence[str]:
    """Return the channels with every completion."""
    return [keys.completions(shard) for shard in range(shards)]


def transition_channels(shards: int) -> Sequence[str]:
    """Return the channels with every transition, including completions."""
    return [keys.transitions(shard) for shard in range(shards)]
