"""The store of deliveries: turns the outbox into deliveries, leases them to couriers, and records attempts."""

import heapq
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final, cast

import redis
import structlog

from shared.deliveries import Attempt, Delivery, DeliveryStatus, Event, LeasedDelivery, delivery_id, event_id
from shared.errors import UnavailableError
from shared.jobs import new_batch_id, shard_of
from shared.ledger import keys, scripts
from shared.ledger.connection import is_cluster, store_errors, subscribe
from shared.ledger.jobs.records import pairs, readable
from shared.ledger.webhooks.records import Row, event_texts, read_delivery, read_row
from shared.tenants import DEFAULT
from shared.webhooks.schemas import Endpoint, EventType, Webhook, webhook_json

PARTS: Final = ("common", "deliveries")
AT_ONCE: Final = 200
"""Log entries to read at once."""


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """A delivery to create for an event."""

    destination: str
    endpoint: str | None = None
    webhook: Webhook | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, newest first. `next` is the position of the next page, if any."""

    deliveries: tuple[Delivery, ...]
    next: tuple[float, str] | None


class Deliveries:
    """The store of events and deliveries. Thread-safe.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self.shards = shards
        self._unreadable: dict[int, int] = {}
        self._fan_out = scripts.register(client, "fan_out", beside=__package__, parts=PARTS)
        self._take = scripts.register(client, "take_deliveries", beside=__package__, parts=PARTS)
        self._keep = scripts.register(client, "keep_deliveries", beside=__package__)
        self._record = scripts.register(client, "record_delivery", beside=__package__, parts=PARTS)
        self._resend = scripts.register(client, "resend", beside=__package__, parts=PARTS)

    def rows(self, shard: int, *, most: int) -> list[Row]:
        """Return the first rows of a shard's outbox. They stay there until they are fanned out.

        Rows that cannot be read, such as those of a newer version, are left for a courier that can.
        """
        with store_errors():
            texts = cast("list[bytes]", self._client.lrange(keys.outbox(shard), 0, most - 1))
        rows = [row for row in map(read_row, texts) if row is not None]
        unreadable = len(texts) - len(rows)
        if unreadable > self._unreadable.get(shard, 0):
            log.error("outbox.unread", shard=shard, rows=unreadable)
        self._unreadable[shard] = unreadable
        return rows

    def fan_out(self, row: Row, plans: Sequence[Plan]) -> bool:
        """Turn a row into an event and its deliveries in one step. Return False if another courier has done so."""
        return self._create(row.event, plans, row=row.raw)

    def send_test(self, endpoint: Endpoint) -> Delivery:
        """Create a test event for this endpoint alone, regardless of its subscription."""
        now = time.time()
        name = event_id(new_batch_id(shard=secrets.randbelow(self.shards), now_ms=round(now * 1000)))
        event = Event(id=name, type=EventType.TEST, at=now, subject=endpoint.id, tenant=endpoint.tenant)
        self._create(event, [Plan(destination=endpoint.id, endpoint=endpoint.id)], row=b"")
        delivery = self.read(delivery_id(name, endpoint.id), tenant=endpoint.tenant)
        if delivery is None:
            raise LookupError(name)
        return delivery

    def _create(self, event: Event, plans: Sequence[Plan], *, row: bytes) -> bool:
        shard = shard_of(event.id)
        planned = [
            {
                "id": delivery_id(event.id, plan.destination),
                "destination": plan.destination,
                **({} if plan.endpoint is None else {"endpoint": plan.endpoint}),
                **({} if plan.webhook is None else {"webhook": webhook_json(plan.webhook)}),
            }
            for plan in plans
        ]
        with store_errors():
            created = self._fan_out(
                keys=[keys.outbox(shard)],
                args=[keys.prefix(shard), row, json.dumps(event_texts(event)), json.dumps(planned)],
            )
        return bool(created)

    def take(
        self, *, most: int, hold: timedelta, per_destination: int, held: Mapping[str, int] | None = None
    ) -> list[LeasedDelivery]:
        """Lease up to `most` due deliveries. No other courier gets them for `hold`.

        Destinations take turns. Each may have `per_destination` deliveries in progress, only one if its last attempt
        failed, and none while it is paused. `held` is the number of deliveries of each tenant that the caller already
        has: with it, a tenant may use at most as many of the caller's slots as stay free.

        An unavailable shard of a cluster is skipped.
        """
        leased_deliveries: list[LeasedDelivery] = []
        tenants = None if held is None else Counter(held)
        for shard in range(self.shards):
            if len(leased_deliveries) >= most:
                break
            try:
                with store_errors():
                    rows = self._take(
                        keys=[keys.due(shard)],
                        args=[
                            keys.prefix(shard),
                            most - len(leased_deliveries),
                            hold.total_seconds(),
                            per_destination,
                            secrets.token_hex(8),
                            "" if tenants is None else json.dumps(tenants),
                        ],
                    )
            except UnavailableError:
                if not is_cluster(self._client):
                    raise
                continue
            for token, now, failures, flat, event in rows:
                delivery = read_delivery(pairs(flat), pairs(event))
                leased_deliveries.append(LeasedDelivery(delivery, token.decode(), float(now), int(failures)))
                if tenants is not None:
                    tenants[delivery.event.tenant] += 1
        return leased_deliveries

    def keep(self, leased_deliveries: Iterable[LeasedDelivery], *, hold: timedelta) -> None:
        """Extend these leases to `hold` from now. Deliveries that were taken over or have ended are not changed.

        An unavailable shard of a cluster is skipped.
        """
        tokens: dict[int, list[str]] = {}
        for leased in leased_deliveries:
            tokens.setdefault(shard_of(leased.delivery.id), []).extend((leased.delivery.id, leased.token))
        for shard, ids_and_tokens in tokens.items():
            try:
                with store_errors():
                    self._keep(keys=[keys.due(shard)], args=[keys.prefix(shard), hold.total_seconds(), *ids_and_tokens])
            except UnavailableError:
                if not is_cluster(self._client):
                    raise

    def record(
        self,
        leased: LeasedDelivery,
        *,
        status: DeliveryStatus,
        attempt: Attempt | None,
        again_in: float = 0.0,
        unwell: bool = False,
        pause: float = 0.0,
        keep: timedelta = timedelta(days=1),
        event_keep: timedelta = timedelta(days=7),
        error: str | None = None,
    ) -> bool:
        """Record the outcome of a leased delivery. Return False, without a change, if its token is stale.

        Args:
            leased: the delivery.
            status: `pending` to try again later, otherwise the final status.
            attempt: request and response; None if no request was made.
            again_in: seconds until the next attempt.
            unwell: whether the destination as a whole failed, and not only this delivery.
            pause: seconds for which nothing is sent to the destination.
            keep: how long the delivery can be read after it has ended.
            event_keep: how long the event can be read after its last delivery has ended.
            error: why it ended without an attempt.
        """
        delivery = leased.delivery
        shard = shard_of(delivery.id)
        last_status = attempt.status if attempt else delivery.last_status
        last_error = attempt.error if attempt else error
        with store_errors():
            written = self._record(
                keys=[keys.delivery(shard, delivery.id)],
                args=[
                    keys.prefix(shard),
                    delivery.id,
                    leased.token,
                    status.value,
                    again_in,
                    "" if attempt is None else json.dumps(asdict(attempt)),
                    int(unwell),
                    pause,
                    round(keep.total_seconds()),
                    round(event_keep.total_seconds()),
                    "" if last_status is None else last_status,
                    last_error or "",
                    leased.failures,
                ],
            )
        return bool(written)

    def signals(self, stop: threading.Event) -> Iterator[str]:
        """Yield whenever something is ready to be sent, until `stop`; signals during a lost connection are lost too."""
        channels = [keys.outbox_signal(shard) for shard in range(self.shards)]
        return subscribe(self._client, channels, stop, every=timedelta(seconds=0.1))

    def next_due(self) -> float | None:
        """Return the seconds until the next delivery is due, 0 if one is due now; None if none is waiting."""
        with store_errors():
            now = self._client.time()
            heads = [
                cast("list[tuple[bytes, float]]", self._client.zrange(keys.due(shard), 0, 0, withscores=True))
                for shard in range(self.shards)
            ]
        times = [rows[0][1] for rows in heads if rows]
        return max(0.0, min(times) - (now[0] + now[1] / 1e6)) if times else None

    def waiting(self) -> int:
        """Return the number of rows in the outbox that have not been fanned out."""
        with store_errors():
            return sum(int(self._client.llen(keys.outbox(shard))) for shard in range(self.shards))

    def read(self, name: str, *, tenant: str = DEFAULT) -> Delivery | None:
        """Return the delivery, or None if the tenant has no delivery with this id."""
        deliveries = self._read_all([name])
        return deliveries[0] if deliveries and deliveries[0].event.tenant == tenant else None

    def attempts(self, name: str) -> list[Attempt]:
        """Return the last attempts of a delivery, oldest first."""
        shard = shard_of(name)
        if shard >= self.shards:
            return []
        with store_errors():
            rows = cast("list[bytes]", self._client.lrange(keys.attempts(shard, name), 0, -1))
        return [Attempt(**json.loads(row)) for row in rows]

    def of_subject(self, subject: str, *, tenant: str = DEFAULT) -> list[Delivery]:
        """Return every delivery of the completion event of the tenant's job, batch or session."""
        name = event_id(subject)
        shard = shard_of(name)
        if shard >= self.shards:
            return []
        with store_errors():
            names = cast("bytes | None", self._client.hget(keys.event(shard, name), "deliveries"))
        deliveries = self._read_all(names.decode().split(" ")) if names else []
        return [delivery for delivery in deliveries if delivery.event.tenant == tenant]

    def of_destination(
        self,
        destination: str,
        *,
        limit: int,
        status: DeliveryStatus | None = None,
        before: tuple[float, str] | None = None,
    ) -> Page:
        """Return a page of a destination's deliveries, newest first. `before` is the `next` of the previous page."""
        merged = heapq.merge(
            *(self._logged(shard, destination, before=before) for shard in range(self.shards)), reverse=True
        )
        deliveries: list[Delivery] = []
        while len(deliveries) <= limit:
            names = [name for _, (_, name) in zip(range(AT_ONCE), merged, strict=False)]
            if not names:
                break
            deliveries += [row for row in self._read_all(names) if status is None or row.status is status]
        page = deliveries[:limit]
        more = len(deliveries) > limit
        return Page(tuple(page), (page[-1].created_at, page[-1].id) if more and page else None)

    def resend(self, name: str, *, tenant: str = DEFAULT) -> Delivery | None:
        """Make the tenant's delivery due now, with the same `webhook-id` and a new retry schedule.

        Return None if it does not exist.
        """
        shard = shard_of(name)
        if self.read(name, tenant=tenant) is None:  # the owner never changes
            return None
        with store_errors():
            rows = self._resend(keys=[keys.delivery(shard, name)], args=[keys.prefix(shard), name])
        return None if rows is None else read_delivery(pairs(rows[0]), pairs(rows[1]))

    def resend_failed(self, destination: str, *, since: float, tenant: str = DEFAULT) -> int:
        """Make every failed delivery created since this time due now. Return their number."""
        resent = 0
        for shard in range(self.shards):
            names = [name for _, name in self._logged(shard, destination, before=None, since=since)]
            for start in range(0, len(names), AT_ONCE):
                for delivery in self._read_all(names[start : start + AT_ONCE]):
                    failed = delivery.status is DeliveryStatus.FAILED
                    if failed and self.resend(delivery.id, tenant=tenant) is not None:
                        resent += 1
        return resent

    def _logged(
        self, shard: int, destination: str, *, before: tuple[float, str] | None, since: float = 0.0
    ) -> Iterator[tuple[float, str]]:
        """Yield creation time and id of a destination's deliveries on one shard, newest first."""
        key, start, top = keys.delivery_log(shard, destination), 0, "+inf" if before is None else repr(before[0])
        while True:
            with store_errors():
                rows = cast(
                    "list[tuple[bytes, float]]",
                    self._client.zrevrangebyscore(key, top, since, start=start, num=AT_ONCE, withscores=True),
                )
            for name, at in rows:
                if before is None or (at, name.decode()) < before:
                    yield at, name.decode()
            if len(rows) < AT_ONCE:
                return
            start += AT_ONCE

    def _read_all(self, names: Sequence[str]) -> list[Delivery]:
        valid = [name for name in names if shard_of(name) < self.shards]
        with store_errors(), self._client.pipeline(transaction=False) as pipeline:
            for name in valid:
                shard = shard_of(name)
                pipeline.hgetall(keys.delivery(shard, name))
                pipeline.hgetall(keys.event(shard, f"evt_{name.split('_')[1]}"))
            rows = cast("list[dict[bytes, bytes]]", pipeline.execute())
        present = ((row, event) for row, event in zip(rows[::2], rows[1::2], strict=True) if row and event)
        return list(readable("delivery", present, lambda pair: read_delivery(*pair)))
