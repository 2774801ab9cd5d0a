"""Joins the work of concurrent jobs into one run of a model: for GPUs, where one run of eight costs little over one."""

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
from worker.metrics import note_batch

OUT_OF_MEMORY: Final = ("out of memory", "failed to allocate", "alloc_failed", "bfc_arena")

log = structlog.get_logger(__name__)


class _Call:
    """What one thread wants to have run, and where it waits for the answer."""

    __slots__ = ("answer", "blob")

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self.answer: Future[Outputs] = Future()


class MicroBatcher:
    """A session that joins calls. While a run is on, calls gather; the next run takes those that fit.

    There is no timer: a lone call pays one change of threads and no wait. Batches are padded with zeros to one of a few
    sizes, so that the memory of a GPU stays flat. A batch that fails is run again call by call, so that a poisoned
    image fails alone; where the device is out of memory, no batch of that size is tried again.
    """

    def __init__(self, session: Session, *, buckets: tuple[int, ...]) -> None:
        self._most = max(buckets)
        self._line = _Line(session, buckets)
        self.name = session.name
        self.provider = session.provider
        self.input_shape = session.input_shape
        self.outputs = session.outputs
        threading.Thread(target=self._line.serve, name=f"batch-{session.name}", daemon=True).start()
        # The thread knows the line alone: an engine that nobody uses any more can go, and its models with it.
        weakref.finalize(self, self._line.close).atexit = False

    def run(self, blob: Blob) -> Outputs:
        """Run these rows, perhaps together with another thread's; the answer is theirs alone, in their order."""
        calls = [_Call(blob[start : start + self._most]) for start in range(0, len(blob), self._most)]
        self._line.join(calls)
        parts = [call.answer.result() for call in calls]
        return parts[0] if len(parts) == 1 else _stacked(parts)


class _Line:
    """The calls that wait for one session, and the thread that serves them."""

    def __init__(self, session: Session, buckets: tuple[int, ...]) -> None:
        self._session = session
        self._buckets = sorted(buckets)
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def join(self, calls: Sequence[_Call]) -> None:
        """Put calls at the end."""
        with self._changed:
            self._waiting.extend(calls)
            self._changed.notify()

    def close(self) -> None:
        """Let the thread end: no call can come any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def serve(self) -> None:
        """Run what waits until the line is closed."""
        while calls := self._next():
            self._run_together(calls)
            del calls  # and with them the pictures, while nothing else waits

    def _next(self) -> list[_Call]:
        """The call that has waited longest, and every other of its shape that fits beside it; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            first = self._waiting.popleft()
            taken, rows, left = [first], len(first.blob), deque[_Call]()
            for call in self._waiting:
                if call.blob.shape[1:] == first.blob.shape[1:] and rows + len(call.blob) <= self._buckets[-1]:
                    taken.append(call)
                    rows += len(call.blob)
                else:
                    left.append(call)
            self._waiting = left
        return taken

    def _run_together(self, calls: list[_Call]) -> None:
        try:
            outputs = self._run_rows(np.concatenate([call.blob for call in calls]) if len(calls) > 1 else calls[0].blob)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            if len(calls) == 1:
                calls[0].answer.set_exception(error)
            else:
                for call in calls:
                    self._run_together([call])
            return
        start = 0
        for call in calls:
            end = start + len(call.blob)
            call.answer.set_result([output[start:end] for output in outputs])
            start = end

    def _run_rows(self, blob: Blob) -> Outputs:
        """Run rows at once where the largest batch holds them, else in pieces."""
        rows, most = len(blob), self._buckets[-1]  # which may shrink on the way
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
                f"The model {self._session.name} does not keep the pictures of a batch apart: prepare its pack, or set "
                "VULTUS_MICRO_BATCH=off.",
            )
        return [output[:rows] for output in outputs]


def _stacked(parts: Sequence[Outputs]) -> Outputs:
    """The answers for pieces of a batch as those for the whole."""
    return [np.concatenate(output) for output in zip(*parts, strict=True)]
