"""Job ids and the table of transitions."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shared.ledger
from shared.deliveries import DeliveryStatus
from shared.errors import ErrorCode
from shared.jobs import (
    FAILURE_CODES,
    TRANSITIONS,
    BatchStatus,
    Status,
    is_batch_id,
    is_job_id,
    new_batch_id,
    new_job_id,
    shard_of,
)

ROOT = Path(__file__).parents[3]
SCRIPTS = Path(shared.ledger.__file__).parent


@given(shard=st.integers(0, 255), now_ms=st.integers(0, 2**47))
def test_an_id_carries_its_shard(shard: int, now_ms: int) -> None:
    job_id = new_job_id(shard=shard, now_ms=now_ms)
    assert is_job_id(job_id)
    assert shard_of(job_id) == shard


@given(st.text(max_size=60))
def test_other_text_is_not_an_id(text: str) -> None:
    assert is_job_id(text) == bool(re.fullmatch(r"job_[0-9a-f]{34}", text))


def test_later_ids_of_a_shard_sort_after_earlier_ones() -> None:
    assert new_job_id(shard=3, now_ms=10) < new_job_id(shard=3, now_ms=11)


def test_ids_never_repeat() -> None:
    assert len({new_job_id(shard=0, now_ms=1) for _ in range(10_000)}) == 10_000


def test_a_terminal_state_has_no_transitions() -> None:
    assert {status for status in Status if status.is_terminal} == {
        Status.SUCCEEDED,
        Status.FAILED,
        Status.CANCELED,
        Status.EXPIRED,
    }


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_every_state_can_be_reached_and_can_end() -> None:
    reached = {Status.QUEUED}
    while True:
        more = reached | {target for status in reached for target in TRANSITIONS[status]}
        if more == reached:
            break
        reached = more
    assert reached == set(Status)


def test_the_scripts_write_only_states_of_the_table() -> None:
    known = {status.value for kind in (Status, BatchStatus, DeliveryStatus) for status in kind}
    all_written = set()
    for script in SCRIPTS.rglob("*.lua"):
        text = script.read_text(encoding="utf-8")
        written = set(re.findall(r"(?:'HSET', [^\n]*'status', |(?:move|conclude)\([^,)]+, )'(\w+)'", text))
        assert written <= known, script.name
        all_written |= written
    assert {"queued", "running", "failed", "canceled", "expired", "completed"} <= all_written


def test_ids_distinguish_batches_and_jobs() -> None:
    batch = new_batch_id(shard=7, now_ms=1)
    assert (is_batch_id(batch), is_job_id(batch), shard_of(batch)) == (True, False, 7)
    assert not is_batch_id(new_job_id(shard=7, now_ms=1))


@pytest.mark.parametrize("folder", ["worker", "shared/image_header", "api/images"])
def test_every_code_that_can_end_a_job_is_listed(folder: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / folder).rglob("*.py")))
    named = {ErrorCode[name] for name in re.findall(r"\bErrorCode\.([A-Z_]+)", text)}
    assert named
    assert named <= FAILURE_CODES
