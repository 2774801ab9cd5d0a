"""The images of jobs that came by URL: taken from their line, downloaded, checked, and put on record or refused."""

import asyncio
import ssl
import threading
from datetime import timedelta
from typing import Final

import httpcore
import structlog
from anyio import to_thread

from api.images.download import Terms, download
from api.settings.api import ApiSettings
from shared.dispatch import Doorbell
from shared.errors import ErrorCode, FetchError, ImageError, RequestError, UnavailableError, VultusError
from shared.image_header.inspection import inspect_image
from shared.jobs import JobFailure
from shared.ledger.admission import Pressure
from shared.ledger.jobs.fetches import Fetch, Fetches
from shared.net.addresses import PRIVATE
from shared.net.pinned import Resolve, look_up
from shared.observability import tracing
from shared.observability.request_context import bind_request_context
from shared.observability.spans import Span

INTERVAL: Final = timedelta(seconds=1)
"""How often the line is looked at where nobody says that somebody joined it."""
SLACK: Final = timedelta(seconds=10)
"""What a fetch may take beyond its download: to check the image and to put it on record."""
PATIENCE: Final = timedelta(seconds=10)
"""How long a stop waits for the thread."""
UNFORESEEN: Final = JobFailure(
    ErrorCode.INTERNAL_ERROR, "The image could not be fetched, for a reason that is not yours.", retryable=True
)

log = structlog.get_logger(__name__)


class Fetcher:
    """Fetches in a thread of its own, with an event loop of its own, until stopped.

    A job is held while its images are fetched, for the time that this may take at most; a gateway that dies lets it go,
    and another one fetches them. One that stops gives back what it holds.
    """

    def __init__(
        self,
        fetches: Fetches,
        pressure: Pressure,
        doorbell: Doorbell,
        *,
        settings: ApiSettings,
        resolve: Resolve = look_up,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._fetches = fetches
        self._pressure = pressure
        self._doorbell = doorbell
        self._settings = settings
        self._policy = settings.url_policy
        self._terms = Terms(
            tls=ssl.create_default_context(),
            most_bytes=settings.max_image_bytes,
            within=settings.image_url_timeout,
            private=PRIVATE if settings.image_url_allow_private else (),
            resolve=resolve,
            network=network or httpcore.AnyIOBackend(),
        )
        self._hold = settings.image_url_timeout + SLACK
        self._held: dict[asyncio.Task[None], Fetch] = {}
        self._thread = threading.Thread(target=self._run, name="fetcher", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._main: asyncio.Task[None]
        self._called: asyncio.Event

    def start(self) -> None:
        """Begin to fetch."""
        self._thread.start()
        self._started.wait()

    def wake(self) -> None:
        """Look at the line now. Safe from any thread, and after the stop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._called.set)

    def stop(self) -> None:
        """Stop, break off what is under way, and give it back."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(timeout=PATIENCE.total_seconds())

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._called = asyncio.Event()
            self._main = self._loop.create_task(self._fetch_all())
            self._started.set()
            try:
                self._loop.run_until_complete(self._main)
            except asyncio.CancelledError:
                log.debug("fetcher.stopped")

    async def _fetch_all(self) -> None:
        away = False
        try:
            while True:
                self._called.clear()
                try:
                    await self._take()
                except UnavailableError as error:
                    if not away:
                        log.warning("fetches.paused", code=error.code.value)
                    away = True
                except Exception:
                    log.exception("fetches.failed")
                else:
                    away = False
                await self._pause()
        finally:
            await self._give_back()

    async def _take(self) -> None:
        """Begin as many fetches as there is room for; none while the store's memory is nearly full."""
        room = self._settings.image_url_parallel - len(self._held)
        if not room:
            return
        for fetch in await to_thread.run_sync(self._due, room, list(self._held.values())):
            task = asyncio.create_task(self._fetch(fetch))
            self._held[task] = fetch
            task.add_done_callback(self._forget)

    def _due(self, room: int, held: list[Fetch]) -> list[Fetch]:
        self._pressure.refuse_if_high()
        return self._fetches.take(most=room, hold=self._hold, held=held)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._held[task]
        self._called.set()

    async def _pause(self) -> None:
        """Until somebody joined the line, there is room again, or a moment has passed."""
        try:
            async with asyncio.timeout(INTERVAL.total_seconds()):
                await self._called.wait()
        except TimeoutError:
            return

    async def _give_back(self) -> None:
        held = dict(self._held)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        try:
            await to_thread.run_sync(self._fetches.give_back, [fetch.job_id for fetch in held.values()])
        except UnavailableError:
            log.warning("fetches.kept", detail="the store is away; another gateway takes them up when the hold is over")

    async def _fetch(self, fetch: Fetch) -> None:
        known = {"vultus.job.id": fetch.job_id}
        with (
            bind_request_context(fetch.context, job_id=fetch.job_id),
            tracing.span("fetch", parent=fetch.context.traceparent, kind="client", attributes=known) as span,
        ):
            try:
                await self._supply_or_refuse(fetch, span)
            except UnavailableError as error:
                log.warning("fetch.unwritten", code=error.code.value)  # the hold runs out, and it is fetched again

    async def _supply_or_refuse(self, fetch: Fetch, span: Span) -> None:
        try:
            image, reference = await self._both(fetch)
            if await to_thread.run_sync(lambda: self._supply(fetch, image=image, reference=reference)):
                log.info("fetch.supplied", bytes=len(image or b"") + len(reference or b""))
        except UnavailableError:
            raise
        except VultusError as error:
            span.fail(error.code.value)
            await self._refuse(fetch, JobFailure(error.code, _said(error), retryable=error.retryable))
        except Exception:
            span.fail(UNFORESEEN.code.value)
            log.exception("fetch.failed")  # and the job with it: taken again, it would fail again, for ever
            await self._refuse(fetch, UNFORESEEN)

    async def _refuse(self, fetch: Fetch, failure: JobFailure) -> None:
        if await to_thread.run_sync(self._fetches.refuse, fetch.job_id, failure):
            log.info("fetch.refused", code=failure.code.value, retryable=failure.retryable)

    def _supply(self, fetch: Fetch, *, image: bytes | None, reference: bytes | None) -> bool:
        taken = self._fetches.supply(fetch.job_id, image=image, reference=reference)
        if taken:
            self._doorbell.ring()
        return taken

    async def _both(self, fetch: Fetch) -> tuple[bytes | None, bytes | None]:
        """Both images at the same time; the first that cannot be had ends the other's download."""
        try:
            async with asyncio.TaskGroup() as group:
                image = group.create_task(self._one(fetch.image_url, field="image.url"))
                reference = group.create_task(self._one(fetch.reference_url, field="reference.url"))
        except ExceptionGroup as errors:
            for error in errors.exceptions:
                if isinstance(error, VultusError):
                    raise error from None
            raise
        return image.result(), reference.result()

    async def _one(self, address: str | None, *, field: str) -> bytes | None:
        """The image at this address, checked as if it had been uploaded."""
        if address is None:
            return None
        try:  # the address once more: the operator may have changed the list since the job was accepted
            url = self._policy.check(address, field=field)
            data = await download(url, terms=self._terms)
            limits = {"max_bytes": self._settings.max_image_bytes, "max_pixels": self._settings.max_pixels}
            await to_thread.run_sync(lambda: inspect_image(data, **limits))
        except (FetchError, ImageError) as error:
            if field == "reference.url":
                raise _of_reference(error) from None
            raise
        return data


def _of_reference(error: FetchError | ImageError) -> VultusError:
    detail = f"The reference: {error.detail}"
    if isinstance(error, FetchError):
        return FetchError(error.code, detail, retryable=error.retryable)
    return ImageError(error.code, detail)


def _said(error: VultusError) -> str:
    """The sentence, with the wrong fields of a refused address: a job has no other place for them."""
    fields = error.fields if isinstance(error, RequestError) else ()
    return " ".join([error.detail, *(f"{field.field}: {field.detail}." for field in fields)])
