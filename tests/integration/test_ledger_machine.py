"""The ledger as a state machine: in any order of its steps, transitions follow the table and end in one state."""

import json
import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from shared.errors import ErrorCode, RequestError
from shared.jobs import TRANSITIONS, Claim, Job, JobFailure, NewJob, Priority, Status, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.listing import JobFilter
from shared.ledger.jobs.store import Outcome
from shared.ledger.stores import open_stores
from shared.operations import Operation
from shared.webhooks.schemas import Webhook
from tests.integration.servers import Server

LEASE = timedelta(seconds=0.02)
MAX_ATTEMPTS = 3
CRASHED = JobFailure(ErrorCode.INTERNAL_ERROR, "The worker failed.", retryable=True)
DAMAGED = JobFailure(ErrorCode.INVALID_IMAGE, "Not an image.")


class Life(RuleBasedStateMachine):
    """Any client, any worker and the sweep, in any order."""

    client: Any
    """Connected to the server; set by the test."""
    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[Claim | None] = Bundle("claims")
    """With a None for each call that found nothing: which rules may run must not depend on the server's clock."""

    @initialize()
    def start(self) -> None:
        self.client.flushall()
        self.stores = open_stores(self.client, shards=1, lease=LEASE)
        self.ledger = self.stores.jobs
        self.known: dict[str, Job] = {}
        self.erased: set[str] = set()

    @rule(
        target=jobs,
        priority=st.sampled_from(Priority),
        deadline=st.sampled_from([None, timedelta(seconds=0.01), timedelta(minutes=1)]),
        by_url=st.booleans(),
    )
    def accept(self, priority: Priority, deadline: timedelta | None, *, by_url: bool) -> str:
        job_id = new_job_id(shard=0, now_ms=1)
        new = NewJob(
            id=job_id,
            operation=Operation.DETECT,
            params={},
            result_ttl=timedelta(hours=1),
            image=b"" if by_url else b"pixels",
            image_url="https://example.org/face.jpg" if by_url else None,
            priority=priority,
            start_within=deadline,
            webhook=Webhook("https://example.org/hook"),
        )
        self.ledger.accept(new, limits=Limits(1000))
        self.ledger.accept(new, limits=Limits(1000))  # submitted twice, it is one job
        return job_id

    @rule(job=jobs, found=st.booleans())
    def fetched(self, job: str, *, found: bool) -> None:
        if found:
            self.stores.fetches.supply(job, image=b"pixels", reference=None)
        else:
            self.stores.fetches.refuse(job, CRASHED)

    @rule(job=jobs)
    def give_back(self, job: str) -> None:
        self.stores.fetches.give_back([job])  # a job that waits for no image is not put in that queue

    @rule(target=claims)
    def claim(self) -> Claim | None:
        return self.ledger.claim("w")

    @rule(claim=claims, failure=st.sampled_from([None, CRASHED, DAMAGED]))
    def finish(self, claim: Claim | None, failure: JobFailure | None) -> None:
        if claim is not None:
            self.ledger.finish(claim.job.id, claim.token, Outcome(result={"n": 1}, failure=failure))

    @rule(claim=claims, failure=st.sampled_from([None, CRASHED]))
    def release(self, claim: Claim | None, failure: JobFailure | None) -> None:
        if claim is not None:
            self.ledger.release(claim.job.id, claim.token, failure=failure, max_attempts=MAX_ATTEMPTS)

    @rule(claim=claims)
    def beat(self, claim: Claim | None) -> None:
        if claim is not None:
            self.ledger.beat(claim.job.id, claim.token)

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        try:
            self.ledger.cancel(job)
        except RequestError as error:
            assert error.code in {ErrorCode.JOB_ENDED, ErrorCode.JOB_NOT_FOUND}  # noqa: PT017

    @rule(target=jobs, job=jobs)
    def retry(self, job: str) -> str:
        try:
            return self.ledger.retry(job, new_id=new_job_id(shard=0, now_ms=2), limits=Limits(1000)).id
        except RequestError:
            return job  # unchanged: whether it had finished depends on the server's clock

    @rule(job=consumes(jobs))
    def delete(self, job: str) -> None:
        self.ledger.delete(job)
        self.erased.add(job)
        self.known.pop(job, None)

    @rule(pause=st.sampled_from([0, 0.03]))
    def sweep(self, pause: float) -> None:
        time.sleep(pause)
        self.ledger.reap(max_attempts=MAX_ATTEMPTS)

    @invariant()
    def everything_agrees(self) -> None:
        self._what_is_written_follows_the_table()
        self._each_line_holds_whom_it_is_for()
        self._the_index_is_the_records()
        self._images_are_kept_for_those_who_need_them_alone()
        self._every_end_is_told_once()

    def _what_is_written_follows_the_table(self) -> None:
        for key in self.client.scan_iter(keys.job(0, "*")):
            job_id = key.decode().rsplit(":", 1)[1]
            assert job_id not in self.erased
            job = self.ledger.read(job_id)
            assert job is not None
            steps = [step.status for step in job.history]
            assert steps[0] is Status.QUEUED
            assert all(later in TRANSITIONS[earlier] for earlier, later in pairwise(steps))
            assert steps[-1] is job.status
            before = self.known.get(job_id)
            if before is not None:
                assert job.history[: len(before.history)] == before.history
                if before.status.is_terminal:
                    assert (job.status, job.result, job.error, job.finished_at) == (
                        before.status, before.result, before.error, before.finished_at,
                    )  # fmt: skip
            self.known[job_id] = job

    def _each_line_holds_whom_it_is_for(self) -> None:
        pending, leases, fetch = (
            {member.decode() for member in self.client.zrange(line, 0, -1)}
            for line in (keys.queue(0), keys.leases(0), keys.fetch(0))
        )
        queued = {job.id for job in self.known.values() if job.status is Status.QUEUED}
        assert pending | fetch == queued
        assert not pending & fetch
        assert leases == {job.id for job in self.known.values() if job.status is Status.RUNNING}

    def _the_index_is_the_records(self) -> None:
        found = self.stores.listing.page(JobFilter(), limit=1000)
        assert {job.id: job.status for job in found.jobs} == {job.id: job.status for job in self.known.values()}
        assert found.next is None

    def _images_are_kept_for_those_who_need_them_alone(self) -> None:
        held = {key.decode().rsplit(":", 1)[1] for key in self.client.scan_iter(keys.image(0, "*"))}
        waits = {job.id for job in self.known.values() if not job.status.is_terminal}
        may_be_retried = {
            job.id for job in self.known.values() if job.error and job.error.retryable and not job.retried_as
        }
        assert held <= waits | may_be_retried
        addresses = {key.decode().rsplit(":", 1)[1] for key in self.client.scan_iter(keys.urls(0, "*"))}
        fetched = {entry.decode() for entry in self.client.zrange(keys.fetch(0), 0, -1)}
        assert fetched <= addresses <= fetched | may_be_retried  # and no job has both an image and its URL
        assert not held & addresses

    def _every_end_is_told_once(self) -> None:
        rows = [json.loads(row) for row in self.client.lrange(keys.outbox(0), 0, -1)]
        events = [(row["id"], row["type"]) for row in rows if row["id"] not in self.erased]
        ended = [(job.id, f"job.{job.status}") for job in self.known.values() if job.status.is_terminal]
        assert sorted(events) == sorted(ended)


def test_every_order_of_steps_keeps_the_promises(ledger_server: Server) -> None:
    with connect(ledger_server.url) as client:
        run_state_machine_as_test(
            type("LifeThere", (Life,), {"client": client}),
            settings=settings(
                max_examples=40,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
