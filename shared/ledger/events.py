"""The channels on which the ledger announces every transition, and what their messages say."""

from collections.abc import Sequence
from typing import Final

from shared.jobs import Status
from shared.ledger import keys

STATUSES: Final = frozenset(Status)


def event(message: bytes) -> tuple[str, Status | None]:
    """Read one message: the id of a job, batch or session, and the new status of the job.

    The status is None where the message is about no job, or about a job that was erased.
    """
    about, word = message.decode().split(" ", 1)
    return about, read_status(word)


def read_status(word: str) -> Status | None:
    """The status of a job, or None for any other word."""
    return Status(word) if word in STATUSES else None


def completion_channels(shards: int) -> Sequence[str]:
    """The channels that carry every end."""
    return [keys.completions(shard) for shard in range(shards)]


def transition_channels(shards: int) -> Sequence[str]:
    """The channels that carry every transition, ends included."""
    return [keys.transitions(shard) for shard in range(shards)]
