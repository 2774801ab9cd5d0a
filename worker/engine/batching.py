"""Batch the work of concurrent jobs into single model runs: on a GPU, a batch of eight costs little more than one."""

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final

import numpy as np
import structlog

from shared.errors import ErrorCode, JobError
from worker.engine.blobs import Blob
from worker.engine.session import Outputs, Session
from worker.metrics import expect_batches, note_batch

OUT_OF_MEMORY: Final = ("out of memory", "failed to allocate", "alloc_failed", "bfc_arena")

log = structlog.get_logger(__name__)


class _Call:
    """Rows of one thread, and the future that it waits for."""

    __slots__ = ("blob", "outputs")

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self.outputs: Future[Outputs] = Future()


class MicroBatcher:
    """A session that batches calls: calls queue during a run, and the next run takes those that fit.

    There is no timer: a single call costs one thread switch and no waiting. Batches are padded with zeros to one of a
    few sizes, so that GPU memory use stays constant. If a batch fails, its calls are run one by one, so that a poisoned
    image fails alone; if the device runs out of memory, that batch size is never tried again.
    """

    def __init__(self, session: Session, *, buckets: tuple[int, ...]) -> None:
        self._most = max(buckets)
        self._queue = _CallQueue(session, buckets)
        self.name = session.name
        self.provider = session.provider
        self.input_shape = session.input_shape
        self.outputs = session.outputs
        expect_batches(session.name)
        threading.Thread(target=self._queue.serve, name=f"batch-{session.name}", daemon=True).start()
        # The thread refers to the queue only, so that an unused engine and its models can be garbage-collected.
        weakref.finalize(self, self._queue.close).atexit = False

    def run(self, blob: Blob) -> Outputs:
        """Run these rows, possibly in one batch with those of other threads; return their outputs in order."""
        futures = self._queue.add([blob[start : start + self._most] for start in range(0, len(blob), self._most)])
        try:
            parts = list(map(Future.result, futures))
        finally:
            futures.clear()  # an error refers to this frame, and its future to the error: the cycle would keep the blob
        return parts[0] if len(parts) == 1 else _stacked(parts)


class _CallQueue:
    """Queue of the calls of one session, and the loop that serves it."""

    def __init__(self, session: Session, buckets: tuple[int, ...]) -> None:
        self._session = session
        self._buckets = sorted(buckets)
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def add(self, blobs: Sequence[Blob]) -> list[Future[Outputs]]:
        """Append one call for each blob; return the futures of their outputs."""
        calls = [_Call(blob) for blob in blobs]
        with self._changed:
            self._waiting.extend(calls)
            self._changed.notify()
        return [call.outputs for call in calls]

    def close(self) -> None:
        """Stop the thread: there will be no more calls."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def serve(self) -> None:
        """Run queued calls until the queue is closed."""
        while calls := self._next():
            self._run_together(calls)
            del calls  # release the images while idle

    def _next(self) -> list[_Call]:
        """Return the oldest call and all others of its shape that fit into the batch; none if the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            first = self._waiting.popleft()
            batch, rows, rest = [first], len(first.blob), deque[_Call]()
            for call in self._waiting:
                if call.blob.shape[1:] == first.blob.shape[1:] and rows + len(call.blob) <= self._buckets[-1]:
                    batch.append(call)
                    rows += len(call.blob)
                else:
                    rest.append(call)
            self._waiting = rest
        return batch

    def _run_together(self, calls: list[_Call]) -> None:
        try:
            outputs = self._run_rows(np.concatenate([call.blob for call in calls]) if len(calls) > 1 else calls[0].blob)
        except BaseException as error:  # noqa: BLE001 - it belongs to the waiting thread
            if len(calls) == 1:
                calls.pop().outputs.set_exception(error)  # as in `run`, no cycle
                return
        else:
            start = 0
            for call in calls:
                end = start + len(call.blob)
                call.outputs.set_result([output[start:end] for output in outputs])
                start = end
            return
        for call in calls:
            self._run_together([call])

    def _run_rows(self, blob: Blob) -> Outputs:
        """Run rows in one batch if the largest bucket holds them, else in chunks."""
        rows, most = len(blob), self._buckets[-1]  # the largest bucket may shrink during a run
        if rows > most:
            return _stacked([self._run_rows(blob[start : start + most]) for start in range(0, rows, most)])
        bucket = next(size for size in self._buckets if size >= rows)
        try:
            return self._run_padded(blob, bucket)
        except Exception as error:
            smaller = [size for size in self._buckets if size < bucket]
            if not smaller or not any(words in str(error).lower() for words in OUT_OF_MEMORY):
                raise
        self._buckets = smaller
        log.warning("batch.shrunk", model=self._session.name, largest=smaller[-1])
        return self._run_rows(blob)

    def _run_padded(self, blob: Blob, bucket: int) -> Outputs:
        rows = len(blob)
        if bucket > rows:
            blob = np.concatenate([blob, np.zeros((bucket - rows, *blob.shape[1:]), blob.dtype)])
        outputs = self._session.run(blob)
        note_batch(self._session.name, rows=rows, slots=bucket)
        if any(len(output) != bucket for output in outputs):
            raise JobError(
                ErrorCode.MODEL_FAILURE,
                f"The model {self._session.name} mixes the images of a batch: prepare its pack, or set "
                "VULTUS_MICRO_BATCH=off.",
            )
        return [output[:rows] for output in outputs]


def _stacked(parts: Sequence[Outputs]) -> Outputs:
    """Concatenate the outputs of the chunks of a batch."""
    return [np.concatenate(output) for output in zip(*parts, strict=True)]
