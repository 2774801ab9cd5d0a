"""Judges the callbacks of a storm: every completion at least once, under one id, signed, and nothing else."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.deliveries import event_id
from tests.chaos.oracle import Snapshot
from tests.chaos.receiver import Receipt


@dataclass(frozen=True, slots=True)
class Due:
    """One completion that one receiver must be notified of."""

    where: str
    """Name of the receiver and path."""
    subject: str
    kind: str


def expected(
    found: Snapshot, *, hooks: Mapping[str, str], endpoints: Mapping[str, Collection[str]]
) -> dict[Due, float]:
    """Return which receivers must be notified of which completions, and when each happened.

    Args:
        found: what the stores hold.
        hooks: receiver and path that came with a job or batch, by its key.
        endpoints: receiver and path of each registered endpoint, and the events that it listens to.
    """
    completed: dict[str, float] = {}
    due: dict[Due, float] = {}
    for job_id, record in found.records.items():
        kind = f"job.{record.status}"
        if record.in_batch:
            batch = record.key.partition("/")[0]
            completed[batch] = max(record.ended, completed.get(batch, 0.0))
        own = None if record.in_batch else hooks.get(record.key)
        due |= {Due(where, job_id, kind): record.ended for where in _listening(kind, own, endpoints)}
    for batch_id, group in found.groups.items():
        wheres = _listening("batch.completed", hooks.get(group.key), endpoints)
        due |= {Due(where, batch_id, "batch.completed"): completed.get(group.key, 0.0) for where in wheres}
    return due


def _listening(kind: str, own: str | None, endpoints: Mapping[str, Collection[str]]) -> list[str]:
    return [*(where for where, events in endpoints.items() if kind in events), *([] if own is None else [own])]


def judge(due: Mapping[Due, float], receipts: Sequence[Receipt], *, erased: frozenset[str]) -> list[str]:
    """Return every broken promise, one line each.

    Args:
        due: the expected notifications, and when each completion happened.
        receipts: every request that arrived.
        erased: jobs that a client asked to erase; whether their completions are sent depends on timing.
    """
    return [*_untold(due, receipts), *_wrong(due, receipts, erased)]


def _untold(due: Mapping[Due, float], receipts: Sequence[Receipt]) -> Iterator[str]:
    taken = {Due(each.where, each.subject, each.kind) for each in receipts if each.taken}
    for one in due.keys() - taken:
        yield f"untold: {one.where} was not told of {one.kind} {one.subject}"


def _wrong(due: Mapping[Due, float], receipts: Sequence[Receipt], erased: frozenset[str]) -> Iterator[str]:
    for each in receipts:
        if not each.valid:
            yield f"signature: {each.subject} came to {each.where} with one that does not hold"
        if each.id != event_id(each.subject):
            yield f"identity: {each.subject} came to {each.where} under the id {each.id}"
        if Due(each.where, each.subject, each.kind) not in due and each.subject not in erased:
            yield f"unasked: {each.where} was told of {each.kind} {each.subject}"


def delays(due: Mapping[Due, float], receipts: Sequence[Receipt]) -> list[float]:
    """Seconds from each completion until its receiver first accepted it."""
    first: dict[Due, float] = {}
    for each in receipts:
        if each.taken:
            one = Due(each.where, each.subject, each.kind)
            first[one] = min(each.at, first.get(one, each.at))
    return [first[one] - at for one, at in due.items() if one in first]


def repeats(receipts: Sequence[Receipt]) -> int:
    """Number of callbacks that were repeated although they had been accepted; delivery is at least once."""
    taken: set[tuple[str, str]] = set()
    count = 0
    for each in receipts:
        count += (each.where, each.id) in taken
        if each.taken:
            taken.add((each.where, each.id))
    return count
