"""Count the requests that each service loses when its worker is killed: `python -m bench.lost_jobs`, three minutes.

Sixty-four clients send one picture each. While the first ones are running, the process that runs the models is killed
with its children, as if its container were lost, and restarted. A request is lost if its client has no result after a
minute.
"""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench import pictures, process_stats, rivals
from bench.length import FULL, Length
from bench.report import Report
from tools.loopback import session

BEFORE: Final = 1.5
"""Seconds from the first request to the kill; by then some are done, some are running and most are queued."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: its embedding endpoint, and a function that replaces its worker."""

    url: str
    field: str
    """Form field of the picture."""
    replace_worker: Callable[[], None]

    def answered(self, picture: bytes, *, patience: float) -> bool:
        """Send one picture and return True if its embeddings come within `patience` seconds."""
        try:
            with session() as direct:
                response = direct.post(
                    self.url,
                    data={"operation": "embed"},
                    files={self.field: picture},
                    headers={"Prefer": f"wait={patience:.0f}"},
                    timeout=patience,
                )
        except OSError:  # the base class of all `requests` errors
            return False
        return response.ok and response.json()["status"] == "succeeded"


def measure(report: Report, *, length: Length) -> None:
    """Add the number of lost requests of each service."""
    picture = pictures.group().data
    services: dict[str, Callable[[], AbstractContextManager[Service]]] = {
        "service": _vultus,
        "synchronous service": partial(_rival, rivals.synchronous),
        "model server": partial(_rival, rivals.model_server),
        "plain Celery service": partial(_rival, rivals.plain_celery),
    }
    for name, start in services.items():
        figure = f"{name}, lost of {length.clients} when its worker is killed"
        with start() as service, ThreadPoolExecutor(length.clients) as pool:
            send = partial(service.answered, picture, patience=length.patience)
            results = [pool.submit(send) for _ in range(length.clients)]
            time.sleep(BEFORE)
            service.replace_worker()
            report.note(figure, "t1", [sum(not result.result() for result in results)], unit="requests")


@contextmanager
def _vultus() -> Iterator[Service]:
    with process_stats.vultus() as stack:
        [worker] = stack.workers

        def replace() -> None:
            worker.signal(signal.SIGKILL)
            worker.wait(10)
            worker.start()

        yield Service(f"{stack.url}/v1/jobs", "image", replace)


@contextmanager
def _rival(start: Callable[[], AbstractContextManager[rivals.RivalService]]) -> Iterator[Service]:
    with start() as service:

        def replace() -> None:
            service.kill_worker()
            service.start_worker()

        yield Service(f"http://127.0.0.1:{service.port}/embed", "file", replace)


if __name__ == "__main__":
    result = Report(about={})
    measure(result, length=FULL)
    for figure, columns in result.figures.items():
        print(f"{figure}: {columns['t1']['median']:.0f}")
