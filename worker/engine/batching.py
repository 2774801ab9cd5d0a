"""Joins the work of concurrent jobs into one run of a model: for GPUs, where one run of eight costs little over one."""

import threading
from collections import deque
from concurrent.futures import Future
from typing import Final

import numpy as np
import structlog

from worker.engine.blobs import Blob
from worker.engine.sessions import Outputs, Session

OUT_OF_MEMORY: Final = ("out of memory", "failed to allocate", "cublas_status_alloc_failed", "bfc_arena")

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
    image fails alone; where the device is out of memory, the largest batch is halved.
    """

    def __init__(self, session: Session, *, buckets: tuple[int, ...]) -> None:
        self._session = session
        self._buckets = buckets
        self._limit = max(buckets)
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self.name = session.name
        self.provider = session.provider
        self.input_shape = session.input_shape
        self.outputs = session.outputs
        threading.Thread(target=self._loop, name=f"batch-{session.name}", daemon=True).start()

    def run(self, blob: Blob) -> Outputs:
        """Run these rows, perhaps together with another thread's; the answer is theirs alone, in their order."""
        most = max(self._buckets)
        calls = [_Call(blob[start : start + most]) for start in range(0, len(blob), most)]
        with self._changed:
            self._waiting.extend(calls)
            self._changed.notify()
        parts = [call.answer.result() for call in calls]
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def _loop(self) -> None:
        while True:
            self._run_together(self._next())

    def _next(self) -> list[_Call]:
        """The call that has waited longest, and every other of its shape that fits beside it."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            first = self._waiting.popleft()
            taken, rows, left = [first], len(first.blob), deque[_Call]()
            for call in self._waiting:
                if call.blob.shape[1:] == first.blob.shape[1:] and rows + len(call.blob) <= self._limit:
                    taken.append(call)
                    rows += len(call.blob)
                else:
                    left.append(call)
            self._waiting = left
        return taken

    def _run_together(self, calls: list[_Call]) -> None:
        try:
            outputs = self._padded(np.concatenate([call.blob for call in calls]) if len(calls) > 1 else calls[0].blob)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self._failed(calls, error)
            return
        start = 0
        for call in calls:
            end = start + len(call.blob)
            call.answer.set_result([output[start:end] for output in outputs])
            start = end

    def _failed(self, calls: list[_Call], error: BaseException) -> None:
        rows = sum(len(call.blob) for call in calls)
        if rows > 1 and any(words in str(error).lower() for words in OUT_OF_MEMORY):
            self._limit = max(1, min(self._limit, rows) // 2)
            log.warning("batch.halved", model=self.name, limit=self._limit)
            for call in calls:
                self._run_in_halves(call)
        elif len(calls) > 1:
            for call in calls:
                self._run_together([call])
        else:
            calls[0].answer.set_exception(error)

    def _run_in_halves(self, call: _Call) -> None:
        """Run one call in pieces of the present limit."""
        try:
            starts = range(0, len(call.blob), self._limit)
            parts = [self._padded(call.blob[start : start + self._limit]) for start in starts]
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            call.answer.set_exception(error)
        else:
            call.answer.set_result([np.concatenate(output) for output in zip(*parts, strict=True)])

    def _padded(self, blob: Blob) -> Outputs:
        rows = len(blob)
        bucket = next(size for size in self._buckets if size >= rows)
        if bucket > rows:
            blob = np.concatenate([blob, np.zeros((bucket - rows, *blob.shape[1:]), blob.dtype)])
        return [output[:rows] for output in self._session.run(blob)]
