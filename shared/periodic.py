"""A thread that repeats a step until it is stopped, even if the step raises."""

import threading
from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Final

import structlog

PATIENCE: Final = timedelta(seconds=10)

log = structlog.get_logger(__name__)


class PeriodicThread(ABC):
    """Calls `step` at an interval in a daemon thread, from `start` to `stop`.

    If the step raises, the error is logged as `<name>.failed` and the thread goes on, even if an image has used up all
    memory and none is left for logging. If the thread ended, its process would go on without doing its work.

    Args:
        name: name of the thread.
        every: pause before each step, including the first.
        patience: how long `stop` waits for a step in progress; None to wait until it ends.
    """

    def __init__(self, name: str, *, every: timedelta, patience: timedelta | None = PATIENCE) -> None:
        self._failed = f"{name}.failed"
        self._every = every.total_seconds()
        self._patience = None if patience is None else patience.total_seconds()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def step(self) -> None:
        """Perform one step."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the step in progress, and wait for it."""
        self._stopping.set()
        self._thread.join(timeout=self._patience)

    def _run(self) -> None:
        while True:
            try:
                if self._stopping.wait(self._every):
                    return
                self._try_step()
            except MemoryError:
                continue

    def _try_step(self) -> None:
        try:
            self.step()
        except MemoryError as error:
            log.warning(self._failed, detail=str(error) or "out of memory; the next step tries again")
        except Exception:
            log.exception(self._failed)
