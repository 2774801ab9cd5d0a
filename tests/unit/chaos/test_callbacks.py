"""What receivers were told is held against what they had to be told."""

from dataclasses import replace

import pytest

from shared.deliveries import event_id
from shared.jobs import Status
from tests.chaos.callbacks import Due, delays, expected, judge, repeats
from tests.chaos.oracle import Group, Record, Snapshot
from tests.chaos.receiver import Receipt

DUE = {Due("one/all", "job_a", "job.succeeded"): 10.0}
GOOD = Receipt(
    where="one/all", id=event_id("job_a"), kind="job.succeeded", subject="job_a", valid=True, taken=True, at=10.5
)
FAILED = replace(GOOD, taken=False, at=10.1)
ELSEWHERE = replace(GOOD, where="two/all")


def found(*receipts: Receipt, erased: frozenset[str] = frozenset()) -> list[str]:
    return judge(DUE, receipts, erased=erased)


def test_an_end_that_was_told_once_or_more_often_is_as_it_should_be() -> None:
    assert found(GOOD) == found(FAILED, GOOD, GOOD) == []


@pytest.mark.parametrize(
    ("receipts", "expected"),
    [
        ([], "untold: one/all"),
        ([FAILED], "untold: one/all"),
        ([GOOD, replace(GOOD, kind="job.failed")], "unasked: one/all was told of job.failed"),
        ([GOOD, ELSEWHERE], "unasked: two/all"),
        ([GOOD, replace(GOOD, id="evt_other")], "identity: "),
        ([GOOD, replace(GOOD, valid=False)], "signature: "),
    ],
    ids=["nothing", "only failures", "another end", "another receiver", "another id", "a wrong signature"],
)
def test_every_kind_of_damage_is_found(receipts: list[Receipt], expected: str) -> None:
    assert any(line.startswith(expected) for line in found(*receipts))


def test_the_end_of_a_job_that_was_erased_may_be_told_or_not() -> None:
    gone = replace(GOOD, subject="job_b", id=event_id("job_b"))
    assert found(GOOD, gone, erased=frozenset({"job_b"})) == []
    assert len(found(GOOD, gone)) == 1


def test_the_delay_is_that_of_the_first_that_was_taken() -> None:
    assert delays(DUE, [FAILED, GOOD, replace(GOOD, at=12.0)]) == [0.5]


def test_what_comes_after_it_was_taken_is_a_repeat() -> None:
    assert repeats([FAILED, GOOD, FAILED, GOOD]) == 2
    assert repeats([FAILED, FAILED, GOOD]) == 0


def test_a_completion_is_due_to_its_listeners_and_its_own_url() -> None:
    done = (Status.QUEUED, Status.RUNNING, Status.SUCCEEDED)
    records = {
        "job_a": Record("a", Status.SUCCEEDED, 1, done, "succeeded:detect", times=(1.0, 2.0, 3.0)),
        "job_b": Record("b/0", Status.SUCCEEDED, 1, done, "succeeded:detect", times=(1.0, 2.0, 4.0), in_batch=True),
    }
    found = Snapshot(
        records=records,
        groups={"batch_b": Group("b", "completed", total=1, ended=1)},
        lines={},
        index_keys={},
        images=[],
        keys_lead_to={},
    )
    due = expected(
        found,
        hooks={"a": "own/a", "b": "own/b"},
        endpoints={"all": ("job.succeeded", "batch.completed"), "failures": ("job.failed",)},
    )
    assert due == {
        Due("all", "job_a", "job.succeeded"): 3.0,
        Due("own/a", "job_a", "job.succeeded"): 3.0,
        Due("all", "job_b", "job.succeeded"): 4.0,
        Due("all", "batch_b", "batch.completed"): 4.0,
        Due("own/b", "batch_b", "batch.completed"): 4.0,
    }
