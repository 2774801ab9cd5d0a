"""Judges what a storm left: from what clients were told and what the stores hold, every broken promise by name."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from shared.jobs import TRANSITIONS, Status

LINES: Final = ("pending", "leases", "deadlines", "fetch")
"""Where a job may be that has not ended: empty when all have."""


@dataclass(slots=True)
class Account:
    """What one client knows of one submission."""

    key: str
    """Its idempotency key, which its metadata carries too."""
    webhook: bool = False
    ids: set[str] = field(default_factory=set)
    """Every id that an answer gave for it."""
    canceled: bool = False
    """True where a cancel was answered with 200."""
    ends_seen: set[Status] = field(default_factory=set)
    """Every end that a read has shown."""


@dataclass(frozen=True, slots=True)
class Record:
    """One job as the ledger keeps it."""

    key: str
    status: Status
    attempts: int
    history: tuple[Status, ...]
    shelf: str
    lasted: float = 0.0
    """Seconds from its acceptance to its end."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the stores hold once everything has come to rest."""

    records: Mapping[str, Record]
    lines: Mapping[str, Sequence[str]]
    """The ids in each of `LINES`."""
    shelves: Mapping[str, Sequence[str]]
    """The ids on each shelf of the index."""
    outbox: Sequence[tuple[str, str]]
    """Id and status of every row."""
    images: Sequence[str]
    """Names of keys, of both stores, that hold the bytes of an image."""
    keys_lead_to: Mapping[str, str]
    """What the service answers now to a submission that is repeated: its key, and the id."""


def audit(
    accounts: Sequence[Account], ends: Sequence[tuple[str, str]], found: Snapshot, *, max_attempts: int
) -> list[str]:
    """Every broken promise, one line each; none where all was kept.

    Args:
        accounts: what the clients know.
        ends: id and status of every end that was announced and heard.
        found: what the stores hold.
        max_attempts: how often a job may start.
    """
    return [
        *_keys(accounts, found),
        *_told(accounts, found),
        *_lives(found, max_attempts=max_attempts),
        *_ends(ends, found),
        *_leftovers(found),
        *_outbox(accounts, found),
    ]


def _keys(accounts: Sequence[Account], found: Snapshot) -> Iterator[str]:
    made = Counter(record.key for record in found.records.values())
    for account in accounts:
        if len(account.ids) > 1:
            yield f"doubled: key {account.key} was answered with {len(account.ids)} ids"
        if made[account.key] > 1:
            yield f"doubled: key {account.key} has {made[account.key]} jobs"
        led_to = found.keys_lead_to.get(account.key)
        if led_to is not None and led_to not in account.ids:
            yield f"doubled: key {account.key} now leads to {led_to}"
    for key in made.keys() - {account.key for account in accounts}:
        yield f"unasked: a job carries the key {key}, which nobody sent"


def _told(accounts: Sequence[Account], found: Snapshot) -> Iterator[str]:
    for account, job_id in [(each, job_id) for each in accounts for job_id in each.ids]:
        if job_id not in found.records:
            yield f"lost: {job_id} was accepted and is not there"
            continue
        status = found.records[job_id].status
        if account.canceled and status is not Status.CANCELED:
            yield f"changed: {job_id} was canceled and is {status}"
        if account.ends_seen - {status}:
            yield f"changed: {job_id} was read as {', '.join(sorted(account.ends_seen))} and is {status}"


def _lives(found: Snapshot, *, max_attempts: int) -> Iterator[str]:
    for job_id, record in found.records.items():
        if not record.status.is_terminal:
            yield f"unended: {job_id} is {record.status}"
        if record.history[:1] != (Status.QUEUED,) or record.history[-1:] != (record.status,):
            yield f"history: {job_id} is {record.status} after {', '.join(record.history)}"
        for before, after in pairwise(record.history):
            if after not in TRANSITIONS[before]:
                yield f"history: {job_id} went from {before} to {after}"
        if record.attempts > min(max_attempts, record.history.count(Status.RUNNING)):
            yield f"attempts: {job_id} counts {record.attempts} starts"
        on = [shelf for shelf, ids in found.shelves.items() if job_id in ids]
        if on != [record.shelf] or record.shelf.split(":")[0] not in {record.status, "dead"}:
            yield f"index: {job_id} is {record.status} and stands on {', '.join(on) or 'no shelf'}"


def _ends(ends: Sequence[tuple[str, str]], found: Snapshot) -> Iterator[str]:
    for job_id, count in Counter(job_id for job_id, _ in ends).items():
        if count > 1:
            yield f"doubled: the end of {job_id} was announced {count} times"
    for job_id, status in set(ends):
        if job_id in found.records and found.records[job_id].status != status:
            yield f"changed: {job_id} was announced as {status} and is {found.records[job_id].status}"


def _leftovers(found: Snapshot) -> Iterator[str]:
    for name in found.images:
        yield f"image: {name} is still there"
    for line, ids in found.lines.items():
        for job_id in ids:
            yield f"leftover: {job_id} is still in {line}"
    for shelf, ids in found.shelves.items():
        for job_id in ids:
            if job_id not in found.records:
                yield f"index: {job_id} stands on {shelf} and is not there"


def _outbox(accounts: Sequence[Account], found: Snapshot) -> Iterator[str]:
    rows = Counter(found.outbox)
    told = {account.key for account in accounts if account.webhook}
    for job_id, record in found.records.items():
        expected = int(record.key in told)
        count = sum(rows[job_id, status] for status in Status)
        if count != expected or rows[job_id, record.status] != expected:
            yield f"outbox: {job_id} is {record.status} and has {count} rows, not {expected}"
