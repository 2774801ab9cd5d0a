"""Process one delivery: build the request, send it, and interpret the response."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlsplit

import structlog
from anyio import to_thread

from shared.deliveries import Attempt, Delivery, DeliveryStatus, LeasedDelivery
from shared.errors import UnavailableError
from shared.jobs import Job
from shared.ledger.jobs.store import Ledger
from shared.ledger.webhooks.deliveries import Deliveries
from shared.ledger.webhooks.endpoints import Endpoints
from shared.observability import tracing
from shared.observability.request_context import bind_request_context
from shared.webhooks.schemas import DisabledReason, Endpoint, EventType, PayloadForm
from shared.webhooks.signing import sign
from worker.courier import metrics, payload
from worker.courier.client import OWN, Answer, Terms, send
from worker.courier.places import Places
from worker.courier.schedule import MOST_RETRY_AFTER, again_in, rest
from worker.courier.settings import CourierSettings

STANDARD: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
NOT_ITS_FAULT: Final = range(400, 500)
"""Statuses that reject one event. The destination itself is healthy, except for the statuses in `OVERLOADED`."""
OVERLOADED: Final = frozenset({408, 425, 429})
ASKS_FOR_TIME: Final = frozenset({429, 502, 503, 504})
"""Statuses whose `Retry-After` applies to the whole destination."""

PAUSE: Final = 0.2
"""Seconds between attempts to reach an unavailable store."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """The destination, headers, payload form and signing secrets of one delivery."""

    url: str
    headers: Mapping[str, str]
    form: PayloadForm
    embeddings: bool
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of an attempt, as it is recorded."""

    status: DeliveryStatus
    again_in: float = 0.0
    unwell: bool = False
    pause: float = 0.0


class Deliverer:
    """Makes attempts and records them.

    Args:
        settings: timeouts, retries and limits.
        terms: how requests are made.
        deliveries: store in which the outcomes of attempts are recorded.
        endpoints: registry in which failing endpoints are marked and disabled.
        jobs: store from which job results are read for full payloads.
        endpoint: reads an endpoint, possibly from a cache.
        forget: drops an endpoint from that cache.
        chance: returns random numbers in [0, 1).
    """

    def __init__(
        self,
        settings: CourierSettings,
        terms: Terms,
        *,
        deliveries: Deliveries,
        endpoints: Endpoints,
        jobs: Ledger,
        endpoint: Callable[[str], Endpoint | None],
        forget: Callable[[str], object],
        chance: Callable[[], float],
    ) -> None:
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._jobs = jobs
        self._settings = settings
        self._terms = terms
        self._endpoint = endpoint
        self._forget = forget
        self._chance = chance
        self._places = Places(settings.webhook_per_host)

    async def deliver(self, leased: LeasedDelivery) -> None:
        """Make one attempt and return once its outcome is recorded or can no longer be recorded.

        Raises:
            UnavailableError: the store was unavailable for so long that another courier may hold the delivery.
        """
        event = leased.delivery.event
        with bind_request_context(event.context, **_names(event.subject), delivery=leased.delivery.id):
            await self._try(leased)

    async def _try(self, leased: LeasedDelivery) -> None:
        begin = time.monotonic()
        try:
            host = await self._host(leased.delivery, until=begin + self._settings.webhook_hold.total_seconds())
            async with self._places.hold(host, leased.delivery.event.tenant):
                waited = time.monotonic() - begin
                leased, begin = replace(leased, now=leased.now + waited), begin + waited
                await self._deliver(leased, begin)
        except UnavailableError:
            raise
        except Exception:
            log.exception("delivery.broke")  # counts as an attempt; otherwise it would be retried forever
            answer = Answer(0.0, error="internal_error")
            verdict = judge(answer, leased, retries=self._retries, chance=self._chance())
            attempt = _logged(leased.delivery.attempts, leased.now, answer)
            await self._record(leased, replace(verdict, unwell=False, pause=0.0), attempt, error=None, begin=begin)

    async def _host(self, delivery: Delivery, *, until: float) -> str:
        """Return the destination host, or an empty string if there is no destination."""
        url = "" if delivery.webhook is None else delivery.webhook.url
        if delivery.endpoint is not None:
            endpoint = await self._patiently(partial(self._endpoint, delivery.endpoint), until=until)
            url = "" if endpoint is None else endpoint.url
        return _host(url) or ""

    async def _deliver(self, leased: LeasedDelivery, begin: float) -> None:
        # The hold ends here unless it is renewed, which needs the same store.
        last = begin + self._settings.webhook_hold.total_seconds()
        until = self._until(begin)
        delivery = leased.delivery
        endpoint = None
        if delivery.endpoint is not None:
            endpoint = await self._patiently(partial(self._endpoint, delivery.endpoint), until=last)
            refused = _refusal(delivery, endpoint)
            if refused is not None:
                await self._record(leased, Verdict(refused[0]), None, error=refused[1], begin=begin)
                return
        request = self._request(delivery, endpoint, now=leased.now)
        if not request.secrets:
            verdict = Verdict(DeliveryStatus.FAILED)
            await self._record(leased, verdict, None, error="webhooks_off", begin=begin)
            return
        job = await self._patiently(partial(self._job, delivery, request), until=last)
        body = payload.body(
            delivery.event,
            base_url=self._settings.public_url,
            job=job,
            full=request.form is PayloadForm.FULL,
            embeddings=request.embeddings,
            most=self._settings.webhook_max_payload,
        )
        at = leased.now + (time.monotonic() - begin)  # the ledger's clock, because the local one may be wrong
        identity = (delivery.event.id, str(int(at)), sign(delivery.event.id, int(at), body, request.secrets))
        headers = {**request.headers, **dict(zip(STANDARD, identity, strict=True))}
        answer = await self._sent(request, body, headers, at=at, delivery=delivery)
        attempt = _logged(delivery.attempts, at, answer)
        verdict = judge(answer, leased, retries=self._retries, chance=self._chance())
        await self._record(leased, verdict, attempt, error=None, begin=begin)
        if endpoint is not None and delivery.event.type is not EventType.TEST:
            await self._patiently(partial(self._note, endpoint, answer), until=until)

    async def _sent(
        self, request: DeliveryRequest, body: bytes, headers: Mapping[str, str], *, at: float, delivery: Delivery
    ) -> Answer:
        attributes = {
            "vultus.event.id": delivery.event.id,
            "vultus.event.type": delivery.event.type.value,
            "vultus.delivery.attempt": delivery.attempts,
            "server.address": _host(request.url),
        }
        context = delivery.event.context
        with tracing.span("deliver", parent=context.traceparent, kind="client", attributes=attributes) as span:
            place = span.traceparent or context.traceparent
            if self._settings.webhook_traceparent and place is not None:
                headers = {**headers, "traceparent": place}
            answer = await send(request.url, body, headers, now=at, terms=self._terms)
            span.note({"http.response.status_code": answer.status})
            if not answer.taken:
                span.fail(answer.error or str(answer.status))
        return answer

    @property
    def _retries(self) -> tuple[float, ...]:
        return tuple(delay.total_seconds() for delay in self._settings.webhook_retries)

    def _until(self, begin: float) -> float:
        """Return the deadline for recording an attempt; fencing keeps a late record from undoing later ones."""
        return begin + self._settings.patience.total_seconds()

    async def _patiently(self, call: Callable[[], T], *, until: float) -> T:
        """Call the store, retrying while it is unavailable until a deadline on the monotonic clock.

        Raises:
            UnavailableError: the store was still unavailable at the deadline.
        """
        while True:
            try:
                return await to_thread.run_sync(call)
            except UnavailableError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(PAUSE)

    def _request(self, delivery: Delivery, endpoint: Endpoint | None, *, now: float) -> DeliveryRequest:
        if endpoint is not None:
            secrets = endpoint.active_secrets(now)
            return DeliveryRequest(
                endpoint.url, endpoint.headers, endpoint.payload, endpoint.include_embeddings, secrets
            )
        webhook = delivery.webhook
        if webhook is None:
            raise LookupError(delivery.id)
        secrets = self._settings.signing_secrets(delivery.event.tenant)
        return DeliveryRequest(webhook.url, webhook.headers, webhook.payload, webhook.include_embeddings, secrets)

    def _job(self, delivery: Delivery, request: DeliveryRequest) -> Job | None:
        if request.form is not PayloadForm.FULL or not delivery.event.subject.startswith("job_"):
            return None
        return self._jobs.read(delivery.event.subject)

    def _note(self, endpoint: Endpoint, answer: Answer) -> None:
        """Update a registered endpoint after an attempt: recovered, gone, or failing for too long."""
        registry = self._endpoints
        if answer.taken:
            if endpoint.failing_since is not None:
                registry.succeeded(endpoint.id)
            return
        reason = None
        failing = registry.failed(endpoint.id)
        if answer.status == HTTPStatus.GONE:
            reason = DisabledReason.GONE
        elif failing is not None and failing >= self._settings.webhook_disable_after:
            reason = DisabledReason.FAILING
        if reason is not None and registry.disable(endpoint.id, reason) is not None:
            self._forget(endpoint.id)
            metrics.DISABLED.labels(reason.value).inc()
            log.warning("endpoint.disabled", endpoint=endpoint.id, reason=reason.value)

    async def _record(
        self, leased: LeasedDelivery, verdict: Verdict, attempt: Attempt | None, *, error: str | None, begin: float
    ) -> None:
        """Record the outcome of an attempt, retrying while the store is unavailable."""
        kept = self._settings.webhook_log_ttl if verdict.status is DeliveryStatus.DELIVERED else None

        def write() -> bool:
            return self._deliveries.record(
                leased,
                status=verdict.status,
                attempt=attempt,
                again_in=verdict.again_in,
                unwell=verdict.unwell,
                pause=verdict.pause,
                keep=kept or self._settings.webhook_failed_ttl,
                event_keep=max(self._settings.webhook_failed_ttl, self._settings.webhook_log_ttl),
                error=error,
            )

        fields = {
            "attempt": leased.delivery.attempts,
            "status": attempt.status if attempt else None,
            "error": attempt.error if attempt else error,
        }
        try:
            written = await self._patiently(write, until=self._until(begin))
        except UnavailableError:
            log.warning("delivery.unrecorded", **fields)  # it will be sent again with the same ID
            return
        finally:
            _count(leased.delivery, verdict, attempt)
        event = f"delivery.{verdict.status}" if verdict.status is not DeliveryStatus.PENDING else "delivery.retry"
        if not written:
            log.warning("delivery.fenced", **fields)
        elif verdict.status is DeliveryStatus.FAILED:
            log.warning(event, **fields)
        else:
            log.info(event, **fields, **({"again_in": round(verdict.again_in, 1)} if verdict.again_in else {}))


def _host(url: str) -> str | None:
    """Return the host of a URL, or None if it cannot be parsed. Whether it is allowed is checked elsewhere."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _names(subject: str) -> dict[str, str]:
    """Return the subject of an event under its log field name."""
    kind = subject.partition("_")[0]
    return {f"{kind}_id": subject} if kind in {"job", "batch"} else {}


def _count(delivery: Delivery, verdict: Verdict, attempt: Attempt | None) -> None:
    if attempt is None:  # nothing was sent
        return
    outcome = "retry" if verdict.status is DeliveryStatus.PENDING else verdict.status.value
    metrics.ATTEMPTS.labels(outcome, metrics.answer_of(attempt.status, attempt.error)).inc()
    metrics.DURATION.observe(attempt.milliseconds / 1000)
    if verdict.status is DeliveryStatus.DELIVERED:
        metrics.LAG.observe(max(0.0, attempt.at + attempt.milliseconds / 1000 - delivery.event.at))


def judge(answer: Answer, leased: LeasedDelivery, *, retries: tuple[float, ...], chance: float) -> Verdict:
    """Decide what a response means: delivered, retry later, or failed permanently."""
    if answer.taken:
        return Verdict(DeliveryStatus.DELIVERED)
    status = answer.status
    unwell = status is None or status not in NOT_ITS_FAULT or status in OVERLOADED
    retry_after = answer.retry_after if status in ASKS_FOR_TIME else None
    pause = max(rest(leased.failures + 1) if unwell else 0.0, min(retry_after or 0.0, MOST_RETRY_AFTER))
    later = None
    if status != HTTPStatus.GONE:
        later = again_in(leased.delivery.tries, retries=retries, chance=chance, retry_after=answer.retry_after)
    if later is None:
        return Verdict(DeliveryStatus.FAILED, unwell=unwell, pause=pause)
    return Verdict(DeliveryStatus.PENDING, again_in=later, unwell=unwell, pause=pause)


def _refusal(delivery: Delivery, endpoint: Endpoint | None) -> tuple[DeliveryStatus, str] | None:
    if endpoint is None:
        return DeliveryStatus.CANCELED, "endpoint_deleted"
    if not endpoint.enabled and delivery.event.type is not EventType.TEST:
        return DeliveryStatus.FAILED, "endpoint_disabled"
    return None


def _logged(number: int, at: float, answer: Answer) -> Attempt:
    """Build the log entry of an attempt. Custom header values may be secrets and are omitted."""
    ours = {*OWN, *STANDARD}
    attempt = Attempt(
        number=number,
        at=at,
        milliseconds=answer.milliseconds,
        status=answer.status,
        error=answer.error,
        response=answer.response,
    )
    shown = {name: value if name in ours else "(not shown)" for name, value in answer.headers.items()}
    return replace(attempt, request_headers=shown)
