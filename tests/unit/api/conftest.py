"""A gateway in memory: the real application over an in-memory ledger and a scripted worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_socket
from fastapi import FastAPI

from api.app import create_app
from api.backend.backend import Backend
from api.backend.waiting import Waiting
from api.backend.workers import Workers
from api.settings.api import ApiSettings
from shared.jobs import Claim, JobFailure, Status
from tests.doubles import WORKER, MemoryPresence, RecordingDoorbell, ScriptedWorker
from tests.memory_ledger import MemoryLedger

Script = Callable[[Claim], Mapping[str, Any] | JobFailure]


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    pytest_socket.disable_socket(allow_unix_socket=True)  # the event loop wakes itself through one
    yield
    pytest_socket.enable_socket()


class Gateway:
    """The application, its doubles, and a client that calls it without a network."""

    def __init__(self, settings: ApiSettings) -> None:
        self.ledger = MemoryLedger(shards=settings.shards)
        self.presence = MemoryPresence(WORKER)
        self.worker = ScriptedWorker(self.ledger)
        self.doorbell = RecordingDoorbell(self.worker.heard)
        self.app: FastAPI = create_app(settings, backend=self._open)
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._run(self._start())

    @asynccontextmanager
    async def _open(self, settings: ApiSettings) -> AsyncIterator[Backend]:
        del settings
        loop = asyncio.get_running_loop()
        self.waiting = Waiting(self.ledger, reread=timedelta(seconds=0.05))

        def tell(job_id: str, status: Status | None) -> None:
            loop.call_soon_threadsafe(self.waiting.hear, job_id, status)

        self.ledger.listeners.append(tell)
        yield Backend(
            stores=self.ledger.stores,
            workers=Workers(self.presence, good_for=timedelta(0)),
            doorbell=self.doorbell,
            waiting=self.waiting,
        )

    async def _start(self) -> None:
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        transport = httpx.ASGITransport(self.app)
        self.client = await self._stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://gateway")
        )

    def _run(self, work: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await work

        return self._runner.run(run())

    def close(self) -> None:
        self._run(self._stack.aclose())
        self._runner.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer: httpx.Response = self._run(self.client.request(method, path, **options))
        return answer

    def together(self, *requests: Awaitable[httpx.Response]) -> list[httpx.Response]:
        """Requests of `client`, all at once."""

        async def gathered() -> list[httpx.Response]:
            return list(await asyncio.gather(*requests))

        answers: list[httpx.Response] = self._run(gathered())
        return answers

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def classic(self, path: str, image: bytes, **fields: str) -> httpx.Response:
        """A classic call, as its clients make it."""
        return self.post(path, files={"file": ("photo.jpg", image, "image/jpeg")}, data=fields)

    def submit(
        self,
        operation: str,
        image: bytes,
        *,
        prefer: str | None = None,
        key: str | None = None,
        cancel_after: str | None = None,
        **fields: str,
    ) -> httpx.Response:
        """A job as a multipart form."""
        headers = {"Prefer": prefer, "Idempotency-Key": key, "Cancel-After": cancel_after}
        return self.post(
            "/v1/jobs",
            files={"image": ("photo.jpg", image, "image/jpeg")},
            data={"operation": operation, **fields},
            headers={name: value for name, value in headers.items() if value is not None},
        )


MakeGateway = Callable[..., Gateway]


@pytest.fixture
def make_gateway() -> Iterator[MakeGateway]:
    """Opens gateways with other settings."""
    opened: list[Gateway] = []

    def make(**settings: Any) -> Gateway:
        gateway = Gateway(ApiSettings(**settings))
        opened.append(gateway)
        return gateway

    yield make
    for gateway in opened:
        gateway.close()


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    """A gateway with the default settings and one live worker that nobody has given a script."""
    return make_gateway()


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is this problem, whole and consistent; give its document."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"urn:vultus:error:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"].endswith(".")
    assert body["request_id"] == answer.headers["x-request-id"]
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert ("retry-after" in answer.headers) == (
        status in {429, 503, 504} or code in {"idempotency_in_progress", "frame_in_work"}
    )
    return body
