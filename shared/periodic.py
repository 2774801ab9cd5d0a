"""A thread that repeats one step until it is stopped, whatever the step raises."""

import threading
from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Final

import structlog

PATIENCE: Final = timedelta(seconds=10)

log = structlog.get_logger(__name__)


class PeriodicThread(ABC):
    """Calls `step` every `every` in a daemon thread, from `start` to `stop`.

    What the step raises is logged as `<name>.failed` and the next step comes all the same, even where a picture has
    taken all memory for a moment and there is none left for logging: a thread that ended then would leave its process
    an empty shell.

    Args:
        name: name of the thread.
        every: pause before each step, the first included.
        patience: how long `stop` waits for a step in progress; None to wait for its end.
    """

    def __init__(self, name: str, *, every: timedelta, patience: timedelta | None = PATIENCE) -> None:
        self._failed = f"{name}.failed"
        self._every = every.total_seconds()
        self._patience = None if patience is None else patience.total_seconds()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def step(self) -> None:
        """Do the work once."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Start no further step, and wait for the one in progress."""
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
