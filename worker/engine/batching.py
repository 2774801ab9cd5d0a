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
        """Run rows at once where they are within the limit, else in pieces; the limit shrinks where memory is short."""
        rows, limit = len(blob), self._limit  # which may shrink on the way
        if rows > limit:
            parts = [self._run_rows(blob[start : start + limit]) for start in range(0, rows, limit)]
            return [np.concatenate(output) for output in zip(*parts, strict=True)]
        try:
            return self._padded(blob)
        except Exception as error:
            if rows == 1 or not any(words in str(error).lower() for words in OUT_OF_MEMORY):
                raise
        self._limit = rows // 2
        log.warning("batch.halved", model=self.name, limit=self._limit)
        return self._run_rows(blob)

    def _padded(self, blob: Blob) -> Outputs:
        rows = len(blob)
        bucket = next(size for size in self._buckets if size >= rows)
        if bucket > rows:
            blob = np.concatenate([blob, np.zeros((bucket - rows, *blob.shape[1:]), blob.dtype)])
        return [output[:rows] for output in self._session.run(blob)]
