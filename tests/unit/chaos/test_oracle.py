"""The oracle of the storms finds nothing where all is well, and each kind of damage where it was done."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from shared.jobs import Status
from tests.chaos.oracle import Account, Group, Record, Snapshot, audit

DONE = (Status.QUEUED, Status.RUNNING, Status.SUCCEEDED)
AGAIN = (Status.QUEUED, Status.RUNNING, Status.QUEUED, Status.RUNNING, Status.FAILED)


def record(key: str, *history: Status, attempts: int = 1) -> Record:
    end = history[-1]
    return Record(key=key, status=end, attempts=attempts, history=history, index_key=f"{end}:detect")


@dataclass
class World:
    """Jobs that went well: one done, one lost twice and retried, one canceled, one erased, and a batch of two.

    Damage is done to it.
    """

    accounts: list[Account] = field(
        default_factory=lambda: [
            Account("a", ids={"job_a"}, ends_seen={Status.SUCCEEDED}),
            Account("b", ids={"job_b"}, retries={"job_d"}),
            Account("c", ids={"job_c"}, canceled=True),
            Account("e", ids={"job_e"}, erased=True, erased_surely=True),
            Account("f", items=2, ids={"batch_f"}, completed=True),
            Account("unanswered"),
            Account("unanswered-batch", items=2),
        ]
    )
    ends: list[tuple[str, str]] = field(
        default_factory=lambda: [("job_a", "succeeded"), ("job_b", "failed"), ("job_c", "canceled")]
    )
    found: Snapshot = field(
        default_factory=lambda: Snapshot(
            records={
                "job_a": record("a", *DONE),
                "job_b": replace(record("b", *AGAIN, attempts=2), index_key="dead:detect"),
                "job_c": record("c", Status.QUEUED, Status.CANCELED, attempts=0),
                "job_d": replace(record("b", *DONE), retry_of="job_b"),
                "job_f0": replace(record("f/0", *DONE), in_batch=True),
                "job_f1": replace(record("f/1", *DONE), in_batch=True),
            },
            groups={"batch_f": Group("f", status="completed", total=2, ended=2)},
            lines={"queue": [], "leases": [], "deadlines": [], "fetch": []},
            index_keys={
                "succeeded:detect": ["job_a", "job_d", "job_f0", "job_f1"],
                "dead:detect": ["job_b"],
                "canceled:detect": ["job_c"],
            },
            images=[],
            keys_lead_to={"a": "job_a"},
        )
    )

    def findings(self) -> list[str]:
        return audit(self.accounts, self.ends, self.found, max_attempts=3)

    def edit(self, **changes: object) -> None:
        self.found = replace(self.found, **changes)  # type: ignore[arg-type]

    def rewrite(self, job_id: str, **changes: object) -> None:
        changed = replace(self.found.records[job_id], **changes)  # type: ignore[arg-type]
        self.edit(records={**self.found.records, job_id: changed})

    def drop(self, job_id: str) -> None:
        self.edit(records={name: kept for name, kept in self.found.records.items() if name != job_id})

    def add(self, job_id: str, made: Record) -> None:
        self.edit(
            records={**self.found.records, job_id: made},
            index_keys={
                **self.found.index_keys,
                made.index_key: [*self.found.index_keys.get(made.index_key, []), job_id],
            },
        )


def test_nothing_is_found_where_all_is_well() -> None:
    assert World().findings() == []


def test_a_submission_that_nobody_answered_may_be_one_job_or_none() -> None:
    world = World()
    world.add("job_u", record("unanswered", *DONE))
    assert world.findings() == []
    world.add("job_v", record("unanswered", *DONE))
    assert any("key unanswered has 2 jobs" in line for line in world.findings())


DAMAGE: dict[str, tuple[str, Callable[[World], object]]] = {
    "an accepted job vanished": ("lost: job_a", lambda w: w.drop("job_a")),
    "a key has two jobs": ("doubled: key a has 2", lambda w: w.add("job_x", record("a", *DONE))),
    "a key was answered with two ids": ("doubled: key a was", lambda w: w.accounts[0].ids.add("job_c")),
    "a key leads elsewhere later": ("doubled: key a now", lambda w: w.edit(keys_lead_to={"a": "job_x"})),
    "a job that nobody asked for": ("unasked", lambda w: w.add("job_x", record("x", *DONE))),
    "a job that never ended": (
        "unended: job_a",
        lambda w: w.rewrite("job_a", status=Status.RUNNING, history=DONE[:2]),
    ),
    "an end after an end": (
        "history: job_a went from succeeded",
        lambda w: w.rewrite("job_a", history=(*DONE, Status.SUCCEEDED)),
    ),
    "an end that its history does not know": ("history: job_a", lambda w: w.rewrite("job_a", history=DONE[:2])),
    "a start that did not count": ("attempts: job_a", lambda w: w.rewrite("job_a", attempts=2)),
    "more starts than allowed": (
        "attempts: job_b",
        lambda w: w.rewrite("job_b", attempts=4, history=(*AGAIN[:2] * 4, Status.FAILED)),
    ),
    "an end that changed after it was read": ("changed: job_a", lambda w: w.accounts[0].ends_seen.add(Status.FAILED)),
    "a cancel that did not hold": (
        "changed: job_c was canceled",
        lambda w: w.rewrite("job_c", status=Status.SUCCEEDED, history=DONE, attempts=1),
    ),
    "an end announced twice": ("announced 2 times", lambda w: w.ends.append(w.ends[0])),
    "an end announced as another": (
        "job_a was announced as failed",
        lambda w: w.ends.__setitem__(0, ("job_a", "failed")),
    ),
    "an image left": ("image: ", lambda w: w.edit(images=["vultus:{0}:image:job_a"])),
    "a lease left": ("still in leases", lambda w: w.edit(lines={**w.found.lines, "leases": ["job_a"]})),
    "a place in the queue left": ("still in queue", lambda w: w.edit(lines={**w.found.lines, "queue": ["job_a"]})),
    "a job under no index key": (
        "no index key",
        lambda w: w.edit(index_keys={**w.found.index_keys, "succeeded:detect": []}),
    ),
    "a job under two index keys": (
        "index: job_a",
        lambda w: w.edit(index_keys={**w.found.index_keys, "running:detect": ["job_a"]}),
    ),
    "a index_key that holds what is not there": (
        "index: job_x",
        lambda w: w.edit(index_keys={**w.found.index_keys, "running:detect": ["job_x"]}),
    ),
    "a retry that vanished": ("lost: job_d", lambda w: w.drop("job_d")),
    "a job that was retried twice": (
        "doubled: job_b was retried as 2",
        lambda w: w.add("job_x", replace(record("b", *DONE), retry_of="job_b")),
    ),
    "a retry that was answered with two ids": (
        "doubled: the retry of key b",
        lambda w: w.accounts[1].retries.add("job_x"),
    ),
    "a job that was erased and is there": ("erased: job_e", lambda w: w.add("job_e", record("e", *DONE))),
    "a batch that vanished": ("lost: batch_f", lambda w: w.edit(groups={})),
    "an item that vanished": ("lost: item f/1", lambda w: w.drop("job_f1")),
    "an item with two jobs": ("doubled: key f/1", lambda w: w.add("job_x", record("f/1", *DONE))),
    "a batch that was accepted in part": (
        "torn: of the 2 items of key unanswered-batch there are 1",
        lambda w: w.add("job_x", replace(record("unanswered-batch/0", *DONE), in_batch=True)),
    ),
    "a batch that lost count": (
        "counts 2, of which 1",
        lambda w: w.edit(groups={"batch_f": Group("f", status="completed", total=2, ended=1)}),
    ),
    "a batch that never ended": (
        "unended: batch_f",
        lambda w: w.edit(groups={"batch_f": Group("f", status="running", total=2, ended=2)}),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_kind_of_damage_is_found(damage: str) -> None:
    expected, do = DAMAGE[damage]
    world = World()
    do(world)
    assert any(expected in line for line in world.findings()), world.findings()
