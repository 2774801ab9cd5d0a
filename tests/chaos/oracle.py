"""Judges a storm: compares what clients were told with what the stores hold, and names every broken promise."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from shared.jobs import TRANSITIONS, Status

LINES: Final = ("queue", "leases", "deadlines", "fetch")
"""Where an unfinished job may be; empty when all have finished."""
BROKEN_OFF: Final = ("lost", "unended")
DOUBLED: Final = "doubled"


@dataclass(slots=True)
class Account:
    """What one client knows about one submission: a job, or a batch if it has items."""

    key: str
    """Its idempotency key, which its metadata carries too."""
    items: int = 0
    hook: str | None = None
    """Receiver and path that came with it."""
    hook_url: str | None = None
    ids: set[str] = field(default_factory=set)
    """Every id that a response returned for it."""
    canceled: bool = False
    """True if a cancel was answered with 200."""
    ends_seen: set[Status] = field(default_factory=set)
    """Every terminal state that a read has shown."""
    completed: bool = False
    """True if a read has shown the batch as completed."""
    retries: set[str] = field(default_factory=set)
    """Every id that a response returned for its retry."""
    erased: bool = False
    """True if erasure was requested, whatever the response."""
    erased_surely: bool = False
    """True if the response was that nothing is left."""

    @property
    def path(self) -> str:
        """The path that it is submitted to."""
        return "/v1/batches" if self.items else "/v1/jobs"

    @property
    def item_keys(self) -> list[str]:
        """The key of each of its items."""
        return [f"{self.key}/{number}" for number in range(self.items)]


@dataclass(frozen=True, slots=True)
class Record:
    """One job as the ledger keeps it."""

    key: str
    status: Status
    attempts: int
    history: tuple[Status, ...]
    index_key: str
    times: tuple[float, ...] = ()
    """When each status of the history began, in seconds since the epoch by the ledger's clock."""
    retry_of: str | None = None
    in_batch: bool = False

    @property
    def began(self) -> float:
        """When it was accepted."""
        return self.times[0] if self.times else 0.0

    @property
    def ended(self) -> float:
        """When it reached its current status."""
        return self.times[-1] if self.times else 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """One batch as the ledger keeps it."""

    key: str
    status: str
    total: int
    ended: int
    """Number of its finished jobs, by its own count."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the stores hold once everything has come to rest."""

    records: Mapping[str, Record]
    groups: Mapping[str, Group]
    lines: Mapping[str, Sequence[str]]
    """The ids in each of `LINES`."""
    index_keys: Mapping[str, Sequence[str]]
    """The ids under each key of the index."""
    images: Sequence[str]
    """Names of keys, of both stores, that hold the bytes of an image."""
    keys_lead_to: Mapping[str, str]
    """What the service answers now to a repeated submission: its key and the id."""


def audit(
    accounts: Sequence[Account], ends: Sequence[tuple[str, str]], found: Snapshot, *, max_attempts: int
) -> list[str]:
    """Return every broken promise, one line each.

    Args:
        accounts: what the clients know.
        ends: id and status of every completion that was announced and heard.
        found: what the stores hold.
        max_attempts: how often a job may start.
    """
    return [
        *_keys(accounts, found),
        *_told(accounts, found),
        *_batches(accounts, found),
        *_lives(found, max_attempts=max_attempts),
        *_ends(ends, found),
        *_leftovers(found),
    ]


def _keys(accounts: Sequence[Account], found: Snapshot) -> Iterator[str]:
    records = found.records.values()
    made = Counter(record.key for record in records if record.retry_of is None)
    made.update(group.key for group in found.groups.values())
    again = Counter(record.retry_of for record in records if record.retry_of is not None)
    for account in accounts:
        if len(account.ids) > 1:
            yield f"doubled: key {account.key} was answered with {len(account.ids)} ids"
        if len(account.retries) > 1:
            yield f"doubled: the retry of key {account.key} was answered with {len(account.retries)} ids"
        for key in (account.key, *account.item_keys):
            if made[key] > 1:
                yield f"doubled: key {key} has {made[key]} jobs"
        led_to = found.keys_lead_to.get(account.key)
        if led_to is not None and led_to not in account.ids:
            yield f"doubled: key {account.key} now leads to {led_to}"
    for job_id, times in again.items():
        if times > 1:
            yield f"doubled: {job_id} was retried as {times} jobs"
    submitted = {key for account in accounts for key in (account.key, *account.item_keys)}
    for key in made.keys() - submitted:
        yield f"unasked: a job carries the key {key}, which nobody sent"


def _told(accounts: Sequence[Account], found: Snapshot) -> Iterator[str]:
    for account, job_id in [(each, job_id) for each in accounts if not each.items for job_id in each.ids]:
        if job_id not in found.records:
            if not account.erased:
                yield f"lost: {job_id} was accepted and is not there"
            continue
        status = found.records[job_id].status
        if account.erased_surely:
            yield f"erased: {job_id} was erased and is there"
        if account.canceled and status is not Status.CANCELED:
            yield f"changed: {job_id} was canceled and is {status}"
        if account.ends_seen - {status}:
            yield f"changed: {job_id} was read as {', '.join(sorted(account.ends_seen))} and is {status}"
    for job_id in [job_id for each in accounts for job_id in each.retries]:
        if job_id not in found.records:
            yield f"lost: {job_id} was accepted as a retry and is not there"


def _batches(accounts: Sequence[Account], found: Snapshot) -> Iterator[str]:
    there = {record.key for record in found.records.values() if record.in_batch}
    for account in accounts:
        whole = sum(key in there for key in account.item_keys)
        if whole not in {0, account.items}:
            yield f"torn: of the {account.items} items of key {account.key} there are {whole}"
    for account, batch_id in [(each, batch_id) for each in accounts if each.items for batch_id in each.ids]:
        group = found.groups.get(batch_id)
        if group is None:
            yield f"lost: {batch_id} was accepted and is not there"
            continue
        if (group.total, group.ended) != (account.items, account.items):
            yield f"lost: {batch_id} of {account.items} items counts {group.total}, of which {group.ended} have ended"
        for key in account.item_keys:
            if key not in there:
                yield f"lost: item {key} of {batch_id} is not there"
    for batch_id, group in found.groups.items():
        if group.status != "completed":
            yield f"unended: {batch_id} is {group.status}"


def _lives(found: Snapshot, *, max_attempts: int) -> Iterator[str]:
    index_keys: dict[str, list[str]] = {}
    for index_key, ids in found.index_keys.items():
        for job_id in ids:
            index_keys.setdefault(job_id, []).append(index_key)
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
        on = index_keys.get(job_id, [])
        if on != [record.index_key] or record.index_key.split(":")[0] not in {record.status, "dead"}:
            yield f"index: {job_id} is {record.status} and is under {', '.join(on) or 'no index key'}"


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
    for index_key, ids in found.index_keys.items():
        for job_id in ids:
            if job_id not in found.records:
                yield f"index: {job_id} is under {index_key} and is not there"
