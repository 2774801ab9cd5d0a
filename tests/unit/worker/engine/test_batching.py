"""Work of concurrent callers is joined, and nobody can tell but by the clock."""

import gc
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ErrorCode, JobError
from tests.unit.worker.engine.sessions import Blob, ScriptedSession
from worker.engine.batching import MicroBatcher

BUCKETS = (1, 2, 4, 8)
FREE = (None, 3)


def doubled(blob: Blob) -> list[Blob]:
    """Two outputs that tell their row: its double, and its sum."""
    return [blob * 2, blob.sum(axis=1, keepdims=True)]


def rows(count: int, *, start: int, width: int = 3) -> Blob:
    return np.arange(start, start + count * width, dtype=np.float32).reshape(count, width)


class Gate:
    """Holds the first run until told, so that calls gather behind it."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, blob: Blob) -> list[Blob]:
        self.entered.set()
        assert self.open.wait(10)
        return doubled(blob)


def gathered(session: ScriptedSession, gate: Gate, blobs: Sequence[Blob]) -> list[list[Blob] | BaseException]:
    """What each call gets when all of them wait behind one run; the runs after it are in `session.seen[1:]`."""
    batcher = MicroBatcher(session, buckets=BUCKETS)

    def call(blob: Blob) -> list[Blob] | BaseException:
        try:
            return batcher.run(blob)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            return error

    with ThreadPoolExecutor(len(blobs) + 1) as pool:
        first = pool.submit(call, rows(1, start=0))
        assert gate.entered.wait(60)
        answers = []
        for waiting, blob in enumerate(blobs, start=1):
            answers.append(pool.submit(call, blob))
            deadline = time.monotonic() + 60
            while len(batcher._queue._waiting) < waiting and time.monotonic() < deadline:
                time.sleep(0.001)
        gate.open.set()
        assert isinstance(first.result(60), list)
        return [answer.result(60) for answer in answers]


@settings(deadline=None, max_examples=25)
@given(counts=st.lists(st.integers(1, 11), min_size=1, max_size=12))
def test_each_caller_gets_its_own_rows_in_order(counts: list[int]) -> None:
    gate = Gate()
    blobs = [rows(count, start=100 * number) for number, count in enumerate(counts)]
    session = ScriptedSession(gate, shape=FREE, outputs=2)
    batcher = MicroBatcher(session, buckets=BUCKETS)
    gate.open.set()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(batcher.run, blobs))
    for blob, answer in zip(blobs, answers, strict=True):
        for ours, alone in zip(answer, doubled(blob), strict=True):
            np.testing.assert_array_equal(ours, alone)
    assert {len(seen) for seen in session.seen} <= set(BUCKETS)


POISON = 666.0


@settings(deadline=None, max_examples=40)
@given(
    wanted=st.lists(
        st.tuples(st.integers(1, 11), st.sampled_from([3, 5]), st.booleans(), st.booleans()), min_size=1, max_size=9
    ),
    memory=st.sampled_from([1, 2, 4, 8]),
)
def test_batched_callers_get_the_outputs_of_a_run_alone(wanted: list[tuple[int, int, bool, bool]], memory: int) -> None:
    """Any mix of row counts, shapes, poisoned calls and a device that holds `memory` rows."""
    blobs = []
    for number, (count, width, rare, other) in enumerate(wanted):
        blob = rows(count, start=1000 * number + 7, width=width)
        if rare and other:
            blob[-1, 0] = POISON
        blobs.append(blob)
    gate = Gate()

    def run(blob: Blob) -> list[Blob]:
        if len(blob) > memory:
            msg = "CUDNN_STATUS_ALLOC_FAILED"
            raise RuntimeError(msg)
        if (blob == POISON).any():
            raise JobError(ErrorCode.MODEL_FAILURE, "poisoned")
        return gate(blob)

    session = ScriptedSession(run, shape=(None, None), outputs=2)
    for blob, answer in zip(blobs, gathered(session, gate, blobs), strict=True):
        if (blob == POISON).any():
            assert isinstance(answer, JobError)
        else:
            assert isinstance(answer, list)
            for ours, alone in zip(answer, doubled(blob), strict=True):
                np.testing.assert_array_equal(ours, alone)
    assert {len(seen) for seen in session.seen} <= set(BUCKETS)


def test_calls_that_wait_are_joined_and_padded_to_a_bucket() -> None:
    gate = Gate()
    session = ScriptedSession(gate, shape=FREE, outputs=2)
    answers = gathered(session, gate, [rows(2, start=10), rows(1, start=50)])
    assert [len(seen) for seen in session.seen] == [1, 4]
    np.testing.assert_array_equal(session.seen[1][3], np.zeros(3))
    assert [len(answer[0]) for answer in answers if isinstance(answer, list)] == [2, 1]


def test_no_run_is_larger_than_the_largest_bucket() -> None:
    gate = Gate()
    session = ScriptedSession(gate, shape=FREE, outputs=2)
    gathered(session, gate, [rows(3, start=0)] * 5)
    assert [len(seen) for seen in session.seen] == [1, 8, 8, 4][: len(session.seen)]
    assert sum(len(seen) for seen in session.seen) >= 16


def test_a_call_larger_than_the_largest_bucket_is_split_and_rejoined() -> None:
    session = ScriptedSession(doubled, shape=FREE, outputs=2)
    blob = rows(19, start=0)
    np.testing.assert_array_equal(MicroBatcher(session, buckets=BUCKETS).run(blob)[0], blob * 2)
    assert [len(seen) for seen in session.seen] == [8, 8, 4]


def test_shapes_are_never_mixed() -> None:
    gate = Gate()
    session = ScriptedSession(gate, shape=(None, None), outputs=2)
    blobs = [rows(1, start=0), rows(1, start=9, width=5), rows(1, start=3)]
    answers = gathered(session, gate, blobs)
    assert [seen.shape for seen in session.seen] == [(1, 3), (2, 3), (1, 5)]
    for blob, answer in zip(blobs, answers, strict=True):
        assert isinstance(answer, list)
        np.testing.assert_array_equal(answer[0], blob * 2)


def test_a_poisoned_call_fails_alone() -> None:
    gate = Gate()

    def run(blob: Blob) -> list[Blob]:
        if (blob == 666).any():
            raise JobError(ErrorCode.MODEL_FAILURE, "poisoned")
        return gate(blob)

    session = ScriptedSession(run, shape=FREE, outputs=2)
    good, bad = rows(2, start=1), np.full((1, 3), 666, np.float32)
    first, second, third = gathered(session, gate, [good, bad, good])
    assert isinstance(second, JobError)
    assert second.code == ErrorCode.MODEL_FAILURE
    for answer in (first, third):
        assert isinstance(answer, list)
        np.testing.assert_array_equal(answer[0], good * 2)


def test_a_failed_call_keeps_no_rows_until_the_next_garbage_collection() -> None:
    def fail(blob: Blob) -> list[Blob]:
        raise RuntimeError(len(blob))

    session = ScriptedSession(fail, shape=(None, 3))
    batcher = MicroBatcher(session, buckets=BUCKETS)
    blobs = [rows(count, start=0) for count in (1, 20)]
    kept = [weakref.ref(blob) for blob in blobs]
    gc.disable()
    try:
        while blobs:
            with pytest.raises(RuntimeError):
                batcher.run(blobs.pop())
        session.seen.clear()
        assert [ref() for ref in kept] == [None, None]
    finally:
        gc.enable()


def test_a_batch_size_that_ran_out_of_memory_is_never_tried_again() -> None:
    def run(blob: Blob) -> list[Blob]:
        if len(blob) > 1:
            msg = "CUDA failure 2: out of memory"
            raise RuntimeError(msg)
        return doubled(blob)

    session = ScriptedSession(run, shape=FREE, outputs=2)
    batcher = MicroBatcher(session, buckets=(1, 4, 8))
    for _ in range(2):
        batcher.run(rows(3, start=0))
    assert [len(seen) for seen in session.seen] == [4, 1, 1, 1, 1, 1, 1]


def test_other_failures_shrink_nothing() -> None:
    def run(blob: Blob) -> list[Blob]:
        if (blob == POISON).any():
            msg = "Non-zero status code"
            raise RuntimeError(msg)
        return doubled(blob)

    session = ScriptedSession(run, shape=FREE, outputs=2)
    batcher = MicroBatcher(session, buckets=BUCKETS)
    with pytest.raises(RuntimeError):
        batcher.run(np.full((8, 3), POISON, np.float32))
    batcher.run(rows(8, start=0))
    assert [len(seen) for seen in session.seen] == [8, 8]


@pytest.mark.parametrize("count", [1, 3])
def test_a_model_that_mixes_the_images_of_a_batch_is_refused(count: int) -> None:
    """Older SCRFD heads: the rows of all pictures come in one list, and a cut by pictures would be someone else's."""

    def run(blob: Blob) -> list[Blob]:
        return [blob.repeat(4, axis=0)]

    batcher = MicroBatcher(ScriptedSession(run, shape=FREE), buckets=BUCKETS)
    with pytest.raises(JobError, match="mixes the images of a batch"):
        batcher.run(rows(count, start=0))


def test_its_thread_ends_when_it_is_no_longer_used() -> None:
    session = ScriptedSession(doubled, shape=FREE, outputs=2)
    session.name = "dropped.onnx"
    batcher = MicroBatcher(session, buckets=BUCKETS)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "batch-dropped.onnx"]
    batcher.run(rows(3, start=0))
    del batcher
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_out_of_memory_shrinks_the_largest_batch_and_still_answers() -> None:
    gate = Gate()

    def run(blob: Blob) -> list[Blob]:
        if len(blob) > 2:
            msg = "CUDA error: out of memory"
            raise RuntimeError(msg)
        return gate(blob)

    session = ScriptedSession(run, shape=FREE, outputs=2)
    blobs = [rows(1, start=10 * number) for number in range(7)]
    for blob, answer in zip(blobs, gathered(session, gate, blobs), strict=True):
        assert isinstance(answer, list)
        np.testing.assert_array_equal(answer[0], blob * 2)


def test_a_call_too_large_for_the_memory_is_split_from_then_on() -> None:
    def run(blob: Blob) -> list[Blob]:
        if len(blob) > 2:
            msg = "Failed to allocate memory for requested buffer"
            raise RuntimeError(msg)
        return doubled(blob)

    session = ScriptedSession(run, shape=FREE, outputs=2)
    batcher = MicroBatcher(session, buckets=BUCKETS)
    blob = rows(8, start=0)
    for _ in range(2):
        np.testing.assert_array_equal(batcher.run(blob)[0], blob * 2)
    assert [len(seen) for seen in session.seen][-4:] == [2, 2, 2, 2]


def test_a_model_that_cannot_run_even_one_row_says_why() -> None:
    def run(_: Blob) -> list[Blob]:
        msg = "out of memory"
        raise RuntimeError(msg)

    batcher = MicroBatcher(ScriptedSession(run, shape=FREE), buckets=BUCKETS)
    for count in (1, 8):
        with pytest.raises(RuntimeError, match="out of memory"):
            batcher.run(rows(count, start=0))


def test_a_lone_call_does_not_wait_for_company() -> None:
    batcher = MicroBatcher(ScriptedSession(doubled, shape=FREE, outputs=2), buckets=BUCKETS)
    batcher.run(rows(1, start=0))
    began = time.perf_counter()
    for _ in range(50):
        batcher.run(rows(1, start=0))
    assert time.perf_counter() - began < 2.0


def test_it_shows_what_the_session_is() -> None:
    batcher = MicroBatcher(ScriptedSession(doubled, shape=FREE, outputs=2), buckets=BUCKETS)
    assert (batcher.name, batcher.provider, batcher.input_shape, batcher.outputs) == (
        "scripted.onnx", "CPUExecutionProvider", FREE, 2
    )  # fmt: skip
