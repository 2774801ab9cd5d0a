"""Load that forgives nothing: every request must be answered with success, every job must succeed."""

import threading
import time
from typing import Any, Final, Self

import requests

from tests.containers.compose import ComposeStack
from tests.pictures import encoded, one_face

FACE: Final = encoded(one_face())
ENDED: Final = 60.0
"""Seconds until a job must have ended."""


class Load:
    """Threads that submit jobs and read them until they end. A context manager: leaving it waits for every job."""

    def __init__(
        self, stack: ComposeStack, *, url: str | None = None, verify: str | bool = True, threads: int = 3
    ) -> None:
        self.failures: list[str] = []
        self.succeeded = 0
        self._url = url or stack.url
        self._headers, self._verify = stack.headers, verify
        self._over, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, name=f"load-{each}") for each in range(threads)]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Submit no more, and wait for what was submitted."""
        self._over.set()
        for thread in self._threads:
            thread.join(2 * ENDED)

    def _run(self) -> None:
        with requests.Session() as session:
            session.headers.update(self._headers)
            session.verify = self._verify
            session.trust_env = False
            while not self._over.is_set():
                try:
                    failure = self._job(session)
                except requests.RequestException as error:
                    failure = repr(error)
                with self._lock:
                    self.failures += [failure] if failure else []
                    self.succeeded += not failure

    def _job(self, session: requests.Session) -> str:
        """Submit a job and wait for its end; what went wrong, or nothing."""
        job = self._call(session, "POST", "/v1/jobs", data={"operation": "detect"}, files={"image": FACE})
        deadline = time.monotonic() + ENDED
        while job.get("status") in {"queued", "running"}:
            if time.monotonic() > deadline:
                return f"{job['id']} is {job['status']} after {ENDED:.0f} s"
            time.sleep(0.05)
            job = self._call(session, "GET", f"/v1/jobs/{job['id']}")
        return "" if job.get("status") == "succeeded" else str(job)

    def _call(self, session: requests.Session, method: str, path: str, **more: Any) -> dict[str, Any]:
        response = session.request(method, self._url + path, timeout=20, **more)
        if response.status_code not in {200, 202}:
            return {"failed": f"{method} {path}: {response.status_code} {response.text[:200]}"}
        return dict(response.json())
