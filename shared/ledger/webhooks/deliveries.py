"""Deliveries: the outbox made into attempts that are due, taken, recorded, and made again."""

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
from shared.ledger.connection import heard, is_cluster, store_errors
from shared.ledger.jobs.records import pairs, readable
from shared.ledger.webhooks.records import Row, event_texts, read_delivery, read_row
from shared.tenants import DEFAULT
from shared.webhooks.schemas import Endpoint, EventType, Webhook, webhook_json

PARTS: Final = ("common", "deliveries")
AT_ONCE: Final = 200
"""Entries of a log that are looked at in one go."""


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """One delivery that an event is to have."""

    destination: str
    endpoint: str | None = None
    webhook: Webhook | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, the newest first; `next` continues it where there is more."""

    deliveries: tuple[Delivery, ...]
    next: tuple[float, str] | None


class Deliveries:
    """What is to be told, to whom, and what came of it. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self.shards = shards
        self._unread: dict[int, int] = {}
        self._fan_out = scripts.register(client, "fan_out", beside=__package__, parts=PARTS)
        self._take = scripts.register(client, "take_deliveries", beside=__package__, parts=PARTS)
        self._keep = scripts.register(client, "keep_deliveries", beside=__package__)
        self._record = scripts.register(client, "record_delivery", beside=__package__, parts=PARTS)
        self._resend = scripts.register(client, "resend", beside=__package__, parts=PARTS)

    def rows(self, shard: int, *, most: int) -> list[Row]:
        """The first rows of a shard's outbox; they stay there until they are fanned out.

        Rows that cannot be read, such as those of a newer version, are left for one who can.
        """
        with store_errors():
            found = cast("list[bytes]", self._client.lrange(keys.outbox(shard), 0, most - 1))
        rows = [row for row in map(read_row, found) if row is not None]
        unread = len(found) - len(rows)
        if unread > self._unread.get(shard, 0):
            log.error("outbox.unread", shard=shard, rows=unread)
        self._unread[shard] = unread
        return rows

    def fan_out(self, row: Row, plans: Sequence[Plan]) -> bool:
        """Make an event of a row, and its deliveries, in one step; False where somebody else has done so."""
        return self._made(row.event, plans, row=row.raw)

    def send_test(self, endpoint: Endpoint) -> Delivery:
        """An event that nothing ended, for this endpoint alone, whatever it listens to."""
        now = time.time()
        name = event_id(new_batch_id(shard=secrets.randbelow(self.shards), now_ms=round(now * 1000)))
        event = Event(id=name, type=EventType.TEST, at=now, subject=endpoint.id, tenant=endpoint.tenant)
        self._made(event, [Plan(destination=endpoint.id, endpoint=endpoint.id)], row=b"")
        made = self.read(delivery_id(name, endpoint.id), tenant=endpoint.tenant)
        if made is None:
            raise LookupError(name)
        return made

    def _made(self, event: Event, plans: Sequence[Plan], *, row: bytes) -> bool:
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
            done = self._fan_out(
                keys=[keys.outbox(shard)],
                args=[keys.prefix(shard), row, json.dumps(event_texts(event)), json.dumps(planned)],
            )
        return bool(done)

    def take(
        self, *, most: int, hold: timedelta, per_destination: int, held: Mapping[str, int] | None = None
    ) -> list[LeasedDelivery]:
        """What is to be sent now, at most so many; nobody else has it for `hold`.

        Destinations are served in turn, each with at most `per_destination` in hand, one where its last attempt failed,
        none while it rests. With `held`, how many of each tenant the caller has in hand already, a tenant gets no more
        of the caller's places than it leaves free, so that others always find some.

        A shard of a cluster that is away has nothing to send: the others go on.
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
        """Have these for another `hold` from now; those that somebody else has by now, or that ended, are left alone.

        A shard of a cluster that is away is passed over.
        """
        held: dict[int, list[str]] = {}
        for leased in leased_deliveries:
            held.setdefault(shard_of(leased.delivery.id), []).extend((leased.delivery.id, leased.token))
        for shard, named in held.items():
            try:
                with store_errors():
                    self._keep(keys=[keys.due(shard)], args=[keys.prefix(shard), hold.total_seconds(), *named])
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
        """Write what came of a delivery in hand; False when it is no longer this token's: nothing was written.

        Args:
            leased: the delivery in hand.
            status: `pending` where it is to be tried again, else its end.
            attempt: what was sent and answered; None where nothing was.
            again_in: seconds until the next attempt.
            unwell: whether the destination itself failed, and not only this delivery.
            pause: seconds for which nothing is sent to the destination.
            keep: how long the delivery can be read from its end on.
            event_keep: the same of the event, from the end of its last delivery.
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
        return heard(self._client, channels, stop, every=timedelta(seconds=0.1))

    def next_due(self) -> float | None:
        """Seconds until something can be sent, 0 where it can now; None where nothing waits."""
        with store_errors():
            now = self._client.time()
            first = [
                cast("list[tuple[bytes, float]]", self._client.zrange(keys.due(shard), 0, 0, withscores=True))
                for shard in range(self.shards)
            ]
        times = [rows[0][1] for rows in first if rows]
        return max(0.0, min(times) - (now[0] + now[1] / 1e6)) if times else None

    def waiting(self) -> int:
        """Rows of the outbox that nobody has fanned out yet."""
        with store_errors():
            return sum(int(self._client.llen(keys.outbox(shard))) for shard in range(self.shards))

    def read(self, name: str, *, tenant: str = DEFAULT) -> Delivery | None:
        """The delivery, or None where the tenant has none of this id, or no more."""
        found = self._read_all([name])
        return found[0] if found and found[0].event.tenant == tenant else None

    def attempts(self, name: str) -> list[Attempt]:
        """The last attempts of a delivery, the oldest first."""
        shard = shard_of(name)
        if shard >= self.shards:
            return []
        with store_errors():
            rows = cast("list[bytes]", self._client.lrange(keys.attempts(shard, name), 0, -1))
        return [Attempt(**json.loads(row)) for row in rows]

    def of_subject(self, subject: str, *, tenant: str = DEFAULT) -> list[Delivery]:
        """Every delivery of the end of this job or batch of the tenant."""
        name = event_id(subject)
        shard = shard_of(name)
        if shard >= self.shards:
            return []
        with store_errors():
            listed = cast("bytes | None", self._client.hget(keys.event(shard, name), "deliveries"))
        found = self._read_all(listed.decode().split(" ")) if listed else []
        return [one for one in found if one.event.tenant == tenant]

    def of_destination(
        self,
        destination: str,
        *,
        limit: int,
        status: DeliveryStatus | None = None,
        before: tuple[float, str] | None = None,
    ) -> Page:
        """The deliveries of a destination, the newest first; `before` is the `next` of the page before."""
        merged = heapq.merge(
            *(self._logged(shard, destination, before=before) for shard in range(self.shards)), reverse=True
        )
        found: list[Delivery] = []
        while len(found) <= limit:
            names = [name for _, (_, name) in zip(range(AT_ONCE), merged, strict=False)]
            if not names:
                break
            found += [one for one in self._read_all(names) if status is None or one.status is status]
        shown = found[:limit]
        more = len(found) > limit
        return Page(tuple(shown), (shown[-1].created_at, shown[-1].id) if more and shown else None)

    def resend(self, name: str, *, tenant: str = DEFAULT) -> Delivery | None:
        """Make the tenant's delivery due now, under its `webhook-id`, its schedule from the beginning.

        None where there is none, or no more.
        """
        shard = shard_of(name)
        if self.read(name, tenant=tenant) is None:  # whose it is never changes
            return None
        with store_errors():
            rows = self._resend(keys=[keys.delivery(shard, name)], args=[keys.prefix(shard), name])
        return None if rows is None else read_delivery(pairs(rows[0]), pairs(rows[1]))

    def resend_failed(self, destination: str, *, since: float, tenant: str = DEFAULT) -> int:
        """Make every failed delivery of events since then due now; how many there were."""
        resent = 0
        for shard in range(self.shards):
            names = [name for _, name in self._logged(shard, destination, before=None, since=since)]
            for start in range(0, len(names), AT_ONCE):
                for one in self._read_all(names[start : start + AT_ONCE]):
                    if one.status is DeliveryStatus.FAILED and self.resend(one.id, tenant=tenant) is not None:
                        resent += 1
        return resent

    def _logged(
        self, shard: int, destination: str, *, before: tuple[float, str] | None, since: float = 0.0
    ) -> Iterator[tuple[float, str]]:
        """Time and id of a destination's deliveries on one shard, the newest first."""
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
        known = [name for name in names if shard_of(name) < self.shards]
        with store_errors(), self._client.pipeline(transaction=False) as asked:
            for name in known:
                shard = shard_of(name)
                asked.hgetall(keys.delivery(shard, name))
                asked.hgetall(keys.event(shard, f"evt_{name.split('_')[1]}"))
            rows = cast("list[dict[bytes, bytes]]", asked.execute())
        present = ((row, event) for row, event in zip(rows[::2], rows[1::2], strict=True) if row and event)
        return list(readable("delivery", present, lambda pair: read_delivery(*pair)))
