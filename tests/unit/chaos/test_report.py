"""The table of a storm says what was done and found, and several storms are one."""

from dataclasses import replace

from shared.jobs import Status
from tests.chaos.blows import Blow
from tests.chaos.census import Usage
from tests.chaos.oracle import Account, Record, Snapshot
from tests.chaos.report import Report, after_lease, summary, table, together
from tests.chaos.storm import Plan

DONE = (Status.QUEUED, Status.RUNNING, Status.SUCCEEDED)
AGAIN = (Status.QUEUED, Status.RUNNING, Status.QUEUED, Status.RUNNING, Status.SUCCEEDED)
KILLED = Blow("worker killed", began=10.0, ended=10.5, recovered=12.5, died=10.5, held={"job_b": 12.0})
LATER = Blow("ledger killed", began=20.0, ended=20.0)


def record(*history: Status, times: tuple[float, ...], attempts: int = 1) -> Record:
    return Record("key", history[-1], attempts, history, f"{history[-1]}:detect", times=times)


FOUND = Snapshot(
    records={
        "job_a": record(*DONE, times=(1.0, 2.0, 3.0)),
        "job_b": record(*AGAIN, times=(9.0, 9.5, 12.75, 13.0, 14.0), attempts=2),
    },
    groups={},
    lines={},
    index_keys={},
    images=[],
    keys_lead_to={},
)


def report(*findings: str) -> Report:
    return Report.of(
        Plan(seed=7, shards=1),
        [KILLED, LATER],
        [Account("a", ids={"job_a"}), Account("b", ids={"job_b"}), Account("c")],
        FOUND,
        findings,
        seconds=30.0,
        calm=1.0,
        last=30.0,
        usage=({"ledger": Usage(9.0, 6, 40)}, {"ledger": Usage(12.0, 6, 41)}),
        delays=[0.2, 0.1],
        told=2,
        repeats=0,
        requests=3,
        lost_by_couriers=[],
        after_lease=[*after_lease([KILLED, LATER], FOUND).values()],
        swallowed=0,
        restarts=2,
    )


def test_a_row_counts_the_jobs_that_lived_through_its_fault_and_how_long_it_took() -> None:
    row = report().rows["worker killed"]
    assert (row.times, row.touched, row.lost, row.doubled, row.recoveries) == (1, 1, 0, 0, [2.0])
    assert report().rows["ledger killed"].recoveries == []


def test_what_was_found_stands_in_the_row_of_the_fault_that_the_job_lived_through() -> None:
    found = report("lost: job_b was accepted and is not there", "doubled: the end of job_a was announced 2 times")
    assert (found.rows["worker killed"].lost, found.rows["worker killed"].doubled) == (1, 0)
    assert table(found)[-1].startswith("| **all** | 2 | 2 | 1 | 1 |")


def test_a_job_of_a_dead_worker_is_timed_from_the_end_of_its_lease() -> None:
    assert after_lease([KILLED], FOUND) == {"job_b": 0.75}
    assert after_lease([replace(KILLED, recovered=None)], FOUND) == {}  # among others it says nothing


def test_a_lease_that_ended_before_its_worker_died_counts_from_the_death() -> None:
    early = replace(KILLED, held=dict.fromkeys(KILLED.held, KILLED.died - 3.0))
    assert after_lease([early], FOUND) == {"job_b": 2.25}


def test_several_storms_are_one_and_survive_being_written() -> None:
    both = together([report(), Report.read(report("lost: job_a").written())])
    assert (both.seeds, both.faults, both.accepted, both.findings) == ([7, 7], 4, 4, ["lost: job_a"])
    assert both.rows["worker killed"].recoveries == [2.0, 2.0]
    assert both.ends == {"succeeded": 4}
    assert any("0.75, 0.75 (2 jobs)" in line for line in summary(both))
