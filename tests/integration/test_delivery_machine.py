"""Every order of the webhook steps against a real store: nothing is lost, duplicated or forgotten."""

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from shared.deliveries import Attempt, Delivery, DeliveryStatus, LeasedDelivery, delivery_id, event_id
from shared.jobs import NewJob, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Outcome
from shared.ledger.stores import open_stores
from shared.ledger.webhooks.deliveries import Plan
from shared.operations import Operation
from shared.webhooks.schemas import Webhook
from tests.integration.servers import Server
from tools.stack import Store

DESTINATIONS = ("a", "b", "c")
LATER = 3600.0
"""Seconds: longer than a test takes."""


class Life(RuleBasedStateMachine):
    """The steps of a courier in any order, with crashes in between."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.stores = open_stores(self.client, shards=1, lease=timedelta(hours=1))
        self.ledger = self.stores.jobs
        self.rows = 0
        self.planned: dict[str, DeliveryStatus] = {}
        self.held: list[LeasedDelivery] = []
        self.attempts: dict[str, int] = {}

    @rule()
    def end_a_job(self) -> None:
        job = NewJob(
            id=new_job_id(shard=0, now_ms=1),
            operation=Operation.DETECT,
            params={},
            image=b"image",
            result_ttl=timedelta(hours=1),
            webhook=Webhook("https://partner.example.org/"),
        )
        self.ledger.accept(job, limits=Limits(1000))
        claim = self.ledger.claim("w")
        assert claim is not None
        assert self.ledger.finish(claim.job.id, claim.token, Outcome(result={}))
        self.rows += 1

    @rule(chosen=st.sets(st.sampled_from(DESTINATIONS)), twice=st.booleans())
    def fan_out(self, chosen: set[str], *, twice: bool) -> None:
        rows = self.stores.deliveries.rows(0, most=10)
        assert len(rows) == min(self.rows, 10)
        for row in rows[:1]:
            plans = [Plan(name, webhook=row.webhook) for name in sorted(chosen)]
            assert self.stores.deliveries.fan_out(row, plans)
            if twice:
                assert not self.stores.deliveries.fan_out(row, plans)
            self.rows -= 1
            for name in chosen:
                self.planned[delivery_id(event_id(row.event.subject), name)] = DeliveryStatus.PENDING

    @rule(most=st.integers(1, 5), each=st.integers(1, 3), dies=st.booleans())
    def take(self, most: int, each: int, *, dies: bool) -> None:
        """A courier that dies holds its deliveries for no time."""
        hold = timedelta(0) if dies else timedelta(seconds=LATER)
        leased_deliveries = self.stores.deliveries.take(most=most, hold=hold, per_destination=each)
        assert len(leased_deliveries) <= most
        taken = [leased.delivery.id for leased in leased_deliveries]
        assert len(set(taken)) == len(taken)
        assert not {leased.delivery.id for leased in self.held} & set(taken), "taken while another has it"
        for leased in leased_deliveries:
            name = leased.delivery.id
            assert self.planned[name] is DeliveryStatus.PENDING
            assert leased.delivery.event.id == f"evt_{name.split('_')[1]}"
            self.attempts[name] = self.attempts.get(name, 0) + 1
            assert leased.delivery.attempts == self.attempts[name]
            if not dies:
                self.held.append(leased)

    @rule(at=st.integers(0, 100), status=st.sampled_from(DeliveryStatus), unwell=st.booleans(), waits=st.booleans())
    def record(self, at: int, status: DeliveryStatus, *, unwell: bool, waits: bool) -> None:
        if not self.held:
            return
        leased = self.held.pop(at % len(self.held))
        attempt = Attempt(number=leased.delivery.attempts, at=leased.now, milliseconds=1.0, status=500)
        options: dict[str, Any] = {"again_in": LATER if waits else 0.0, "unwell": unwell}
        assert self.stores.deliveries.record(leased, status=status, attempt=attempt, **options)
        assert not self.stores.deliveries.record(leased, status=DeliveryStatus.DELIVERED, attempt=attempt), "fenced"
        self.planned[leased.delivery.id] = status

    @rule()
    def keep(self) -> None:
        self.stores.deliveries.keep(self.held, hold=timedelta(seconds=LATER))

    @rule(at=st.integers(0, 100))
    def resend(self, at: int) -> None:
        if self.planned:
            name = sorted(self.planned)[at % len(self.planned)]
            assert self.stores.deliveries.resend(name) is not None
            if name not in {leased.delivery.id for leased in self.held}:
                self.planned[name] = DeliveryStatus.PENDING

    @invariant()
    def every_delivery_is_as_it_was_left(self) -> None:
        for name, status in self.planned.items():
            assert self._read(name).status is status

    @invariant()
    def what_is_pending_waits_in_one_place_and_is_looked_at(self) -> None:
        places: list[str] = []
        for destination in DESTINATIONS:
            here = [*self._members(f"queue:{destination}"), *self._members(f"flying:{destination}")]
            assert (destination in self._members("due")) is bool(here)
            places += here
        assert sorted(places) == sorted(
            name for name, status in self.planned.items() if status is DeliveryStatus.PENDING
        )

    @invariant()
    def an_event_lives_as_long_as_one_of_its_deliveries_is_pending(self) -> None:
        events: dict[str, list[DeliveryStatus]] = {}
        for name, status in self.planned.items():
            events.setdefault(f"evt_{name.split('_')[1]}", []).append(status)
        for event, statuses in events.items():
            pending = statuses.count(DeliveryStatus.PENDING)
            assert self.client.hget(keys.event(0, event), "left") == str(pending).encode()
            assert (self.client.ttl(keys.event(0, event)) == -1) is (pending > 0)

    def _read(self, name: str) -> Delivery:
        found = self.stores.deliveries.read(name)
        assert found is not None
        return found

    def _members(self, name: str) -> list[str]:
        found = cast("list[bytes]", self.client.zrange(keys.prefix(0) + name, 0, -1))
        return [member.decode() for member in found]


def test_every_order_of_steps_keeps_the_promises(tmp_path: Path) -> None:
    server = Server(Store("ledger", tmp_path / "ledger", durable=False))
    server.start()
    try:
        with connect(server.url) as client:
            run_state_machine_as_test(
                type("LifeThere", (Life,), {"client": client}),
                settings=settings(
                    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
                ),
            )
    finally:
        server.service.stop()
