"""The gateway without a network: the real application over a real store, with a scripted worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Final, cast

import httpx
import pytest
import pytest_socket
from fastapi import FastAPI

from api.app import create_app
from api.backend.backend import Backend, OpenBackend
from api.backend.waiting import Waiting
from api.backend.workers import Workers
from api.settings.api import ApiSettings
from shared.jobs import Claim, Job, JobFailure
from shared.ledger.stores import Stores
from shared.tenants import Scope
from tests.doubles import WORKER, MemoryPresence, RecordingDoorbell, ScriptedWorker
from tests.store import CountingLedger, LiveStore, give_key

Script = Callable[[Claim], Mapping[str, Any] | JobFailure]


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    pytest_socket.disable_socket(
        allow_unix_socket=True
    )  # the store has one, and the event loop wakes itself through one
    yield
    pytest_socket.enable_socket()


class Application:
    """An application whose backend is opened by the gateway that uses it."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self.open: OpenBackend | None = None
        self.app: FastAPI = create_app(settings, backend=self._open)

    def _open(self, settings: ApiSettings) -> AbstractAsyncContextManager[Backend]:
        assert self.open is not None
        return self.open(settings)


class Applications:
    """Applications that no gateway uses now: to build the routes of one takes longer than most tests with it."""

    MOST: Final = 8

    def __init__(self) -> None:
        self._idle: list[Application] = []

    def take(self, settings: ApiSettings) -> Application:
        """One with these settings."""
        for application in self._idle:
            if application.settings == settings:
                self._idle.remove(application)
                return application
        return Application(settings)

    def give_back(self, application: Application) -> None:
        application.open = None
        if not application.app.state.drain.began:
            self._idle = [application, *self._idle][: self.MOST]


APPLICATIONS: Final = Applications()


class Gateway:
    """The application, its doubles, and a client that calls it without a network."""

    def __init__(self, settings: ApiSettings, store: LiveStore) -> None:
        self.store = store
        self.stores: Stores = store.open(
            shards=settings.shards, lease=settings.lease, retry_window=settings.retry_window
        )
        self.ledger = cast("CountingLedger", self.stores.jobs)
        self.presence = MemoryPresence(WORKER)
        self.worker = ScriptedWorker(self.ledger)
        self.doorbell = RecordingDoorbell(self.worker.heard)
        self._application = APPLICATIONS.take(settings)
        self._application.open = self._open
        self.app = self._application.app
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._run(self._start())

    @asynccontextmanager
    async def _open(self, settings: ApiSettings) -> AsyncIterator[Backend]:
        self.waiting = Waiting(self.ledger)
        async with self.store.followed(self.waiting, shards=settings.shards):
            yield Backend(
                stores=self.stores,
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
        self.worker.close()
        self._run(self._stack.aclose())
        self._runner.close()
        APPLICATIONS.give_back(self._application)

    def give_key(self, tenant: str, *scopes: Scope, expires_at: float | None = None) -> str:
        """A fresh API key, in full. Its tenant is registered if it is new."""
        return give_key(self.stores, tenant, *scopes, expires_at=expires_at)

    def awaited(self) -> bool:
        """True while a caller waits for a job, a batch or a session."""
        return bool(self.waiting._watches)

    def jobs(self) -> list[Job]:
        """Every job that the store holds, whosever it is."""
        jobs = (self.ledger.read(job_id) for job_id in self.store.ids("job"))
        return [job for job in jobs if job is not None]

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


@pytest.fixture
def ledger(store: LiveStore) -> CountingLedger:
    """An empty store of jobs."""
    return store.ledger()


MakeGateway = Callable[..., Gateway]


@pytest.fixture
def make_gateway(store: LiveStore) -> Iterator[MakeGateway]:
    """Opens gateways with other settings."""
    opened: list[Gateway] = []

    def make(**settings: Any) -> Gateway:
        gateway = Gateway(ApiSettings(**settings), store)
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
