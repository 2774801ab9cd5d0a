"""Fetch images by URL: take jobs from the fetch queue, download and check their images, and store or refuse them."""

import asyncio
import ssl
import threading
from datetime import timedelta
from typing import Final

import httpcore
import structlog
from anyio import to_thread

from api.images.download import DownloadOptions, download
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
"""How often the fetch queue is checked without a notification."""
SLACK: Final = timedelta(seconds=10)
"""How long a fetch may take beyond its download, to check and store the image."""
PATIENCE: Final = timedelta(seconds=10)
"""How long `stop` waits for the thread."""
UNEXPECTED: Final = JobFailure(
    ErrorCode.INTERNAL_ERROR, "The image could not be fetched because of an unexpected server error.", retryable=True
)

log = structlog.get_logger(__name__)


class Fetcher:
    """Fetches images in its own thread and event loop until stopped.

    A job is held while its images are fetched, for at most as long as that may take. If the gateway dies, the hold
    expires and another gateway fetches the images. A gateway that stops releases its holds.
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
        self._options = DownloadOptions(
            tls=ssl.create_default_context(),
            max_bytes=settings.max_image_bytes,
            timeout=settings.image_url_timeout,
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
        self._wakeup: asyncio.Event

    def start(self) -> None:
        """Start fetching."""
        self._thread.start()
        self._started.wait()

    def wake(self) -> None:
        """Check the fetch queue now. Safe to call from any thread, and after `stop`."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wakeup.set)

    def stop(self) -> None:
        """Stop: cancel the fetches in progress, and release their jobs."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(timeout=PATIENCE.total_seconds())

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._wakeup = asyncio.Event()
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
                self._wakeup.clear()
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
        """Start as many fetches as there is room for, or none while the store's memory is nearly full."""
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
        self._wakeup.set()

    async def _pause(self) -> None:
        """Wait for a new fetch, for a free place, or for `INTERVAL`."""
        try:
            async with asyncio.timeout(INTERVAL.total_seconds()):
                await self._wakeup.wait()
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
            log.warning("fetches.kept", detail="the store is unavailable; another gateway takes over after the hold")

    async def _fetch(self, fetch: Fetch) -> None:
        attributes = {"vultus.job.id": fetch.job_id}
        with (
            bind_request_context(fetch.context, job_id=fetch.job_id),
            tracing.span("fetch", parent=fetch.context.traceparent, kind="client", attributes=attributes) as span,
        ):
            try:
                await self._supply_or_refuse(fetch, span)
            except UnavailableError as error:
                log.warning(
                    "fetch.unwritten", code=error.code.value
                )  # the hold expires, and the image is fetched again

    async def _supply_or_refuse(self, fetch: Fetch, span: Span) -> None:
        try:
            image, reference = await self._both(fetch)
            await to_thread.run_sync(lambda: self._supply(fetch, image=image, reference=reference))
        except UnavailableError:
            raise
        except VultusError as error:
            span.fail(error.code.value)
            failure = JobFailure(error.code, _detail(error), retryable=error.retryable)
            await to_thread.run_sync(self._refuse, fetch, failure)
        except Exception:
            span.fail(UNEXPECTED.code.value)
            log.exception("fetch.failed")
            # otherwise it would be fetched and fail again forever
            await to_thread.run_sync(self._refuse, fetch, UNEXPECTED)

    # These two run in a thread and log there, because a stop cancels the task that waits for the thread.

    def _supply(self, fetch: Fetch, *, image: bytes | None, reference: bytes | None) -> None:
        if self._fetches.supply(fetch.job_id, image=image, reference=reference):
            self._doorbell.ring()
            log.info("fetch.supplied", bytes=len(image or b"") + len(reference or b""))

    def _refuse(self, fetch: Fetch, failure: JobFailure) -> None:
        if self._fetches.refuse(fetch.job_id, failure):
            log.info("fetch.refused", code=failure.code.value, retryable=failure.retryable)

    async def _both(self, fetch: Fetch) -> tuple[bytes | None, bytes | None]:
        """Fetch both images concurrently. If one fails, the other download is cancelled."""
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

    async def _one(self, text: str | None, *, field: str) -> bytes | None:
        """Fetch the image at this URL, and check it like an uploaded one."""
        if text is None:
            return None
        try:
            url = self._policy.check(text, field=field)  # again: the allowlist may have changed since the submission
            data = await download(url, options=self._options)
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


def _detail(error: VultusError) -> str:
    """Return the detail of an error together with its invalid fields, because a job's error has no field list."""
    fields = error.fields if isinstance(error, RequestError) else ()
    return " ".join([error.detail, *(f"{field.field}: {field.detail}." for field in fields)])
