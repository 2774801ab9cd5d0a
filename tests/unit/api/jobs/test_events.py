"""`GET /v1/jobs/{id}/events`: every transition once, in order, and then the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from api.backend.waiting import Waiting
from api.jobs import events
from api.jobs.events import _seen, _stream
from shared.jobs import Job, Status
from shared.ledger.jobs.store import Ledger, Outcome
from tests.store import CountingLedger, LiveStore
from tests.unit.api.backend.test_waiting import LONG, NEVER, accept, end_next, run, until
from tests.unit.api.conftest import Gateway
from tests.unit.api.pictures import JPEG
from tests.unit.api.results import faces

Event = dict[str, Any]


def read(stream: str) -> list[Event]:
    """Parse an event stream according to https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


def named(stream: str) -> list[tuple[str, str | None]]:
    return [(event["event"], event.get("id")) for event in read(stream)]


WHOLE = [("queued", "1"), ("running", "2"), ("succeeded", "3"), ("end", "end")]


def test_stream_has_every_transition_and_the_end(gateway: Gateway) -> None:
    gateway.worker.script, gateway.worker.awaited = lambda _: faces(1), gateway.awaited
    path = gateway.submit("detect", JPEG).headers["location"]
    answer = gateway.get(f"{path}/events")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    assert named(answer.text) == WHOLE
    told = read(answer.text)
    job = gateway.get(path).json()
    assert told[-1]["data"] == job
    assert told[0]["data"] == {"number": 1, "status": "queued", "at": job["created_at"]}
    assert told[1]["data"]["at"] == job["started_at"]


def test_stream_of_an_ended_job_is_sent_immediately(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    path = gateway.submit("detect", JPEG).headers["location"]
    assert named(gateway.get(f"{path}/events").text) == WHOLE
    assert not gateway.waiting.of_transitions


@pytest.mark.parametrize(
    ("last", "first"),
    [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("4", 0), ("-1", 0), ("x", 0), ("", 0), ("²", 0), ("9" * 500, 0)],
)
def test_stream_resumes_after_the_last_event(gateway: Gateway, last: str, first: int) -> None:
    gateway.worker.script = lambda _: faces(1)
    path = gateway.submit("detect", JPEG).headers["location"]
    answer = gateway.get(f"{path}/events", headers={"Last-Event-ID": last.encode("latin-1")})
    assert named(answer.text) == WHOLE[first:]


def test_client_with_the_last_event_gets_204(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    path = gateway.submit("detect", JPEG).headers["location"]
    answer = gateway.get(f"{path}/events", headers={"Last-Event-ID": "end"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_canceling_a_job_ends_its_stream(gateway: Gateway) -> None:
    path = gateway.submit("detect", JPEG).headers["location"]
    stream, _ = gateway.together(gateway.client.get(f"{path}/events"), gateway.client.post(f"{path}/cancel"))
    assert named(stream.text) == [("queued", "1"), ("canceled", "2"), ("end", "end")]


def test_deleting_a_job_ends_its_stream(gateway: Gateway) -> None:
    path = gateway.submit("detect", JPEG).headers["location"]

    async def delete_once_followed() -> Any:
        await until(lambda: gateway.waiting.of_transitions)
        return await gateway.client.delete(path)

    stream, _ = gateway.together(gateway.client.get(f"{path}/events"), delete_once_followed())
    assert read(stream.text)[-1] == {"event": "deleted", "data": {"id": path.removeprefix("/v1/jobs/")}}


class Line:
    """A stream that is read chunk by chunk."""

    def __init__(self, ledger: Ledger, waiting: Waiting, job_id: str, *, seen: int = 0) -> None:
        job = ledger.read(job_id)
        assert job is not None
        self.stream: AsyncIterator[bytes] = _stream(job, seen, waiting)

    async def next(self) -> str:
        return (await asyncio.wait_for(anext(self.stream), LONG.total_seconds())).decode()

    async def rest(self) -> str:
        return "".join([piece.decode() async for piece in self.stream])


def test_transition_between_read_and_watch_is_sent(ledger: CountingLedger, store: LiveStore) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        async with store.followed(waiting):
            line = Line(ledger, waiting, accept(ledger))
            end_next(ledger)  # before anyone watches, so the event is lost
            assert named(await line.rest()) == WHOLE

    run(case())


def test_transition_right_after_a_read_is_sent(store: LiveStore) -> None:
    class MovesAfterSecondRead(CountingLedger):
        def read(self, job_id: str) -> Job | None:
            job = super().read(job_id)
            if self.reads == 2:
                end_next(self)
            return job

    async def case() -> None:
        ledger = MovesAfterSecondRead(store.client, shards=1, lease=LONG)
        waiting = Waiting(ledger, reread=NEVER)
        async with store.followed(waiting):
            assert named(await Line(ledger, waiting, accept(ledger)).rest()) == WHOLE

    run(case())


def test_every_transition_is_sent_including_a_requeue(ledger: CountingLedger, store: LiveStore) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        async with store.followed(waiting):
            job_id = accept(ledger)
            line = Line(ledger, waiting, job_id)
            assert named(await line.next()) == [("queued", "1")]
            claim = ledger.claim("w")
            assert claim is not None
            assert named(await line.next()) == [("running", "2")]
            ledger.release(job_id, claim.token, max_attempts=3)
            assert named(await line.next()) == [("queued", "3")]
            end_next(ledger)
            assert named(await line.rest()) == [("running", "4"), ("succeeded", "5"), ("end", "end")]

    run(case())


def test_lost_events_lose_nothing(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=timedelta(seconds=0.02))
        rereading = asyncio.create_task(waiting.reread())
        job_id = accept(ledger)
        line = Line(ledger, waiting, job_id)
        await line.next()
        claim = ledger.claim("w")  # no event is published
        assert named(await line.next()) == [("running", "2")]
        assert claim is not None
        ledger.finish(job_id, claim.token, Outcome(result={}))
        assert named(await line.rest()) == WHOLE[2:]
        rereading.cancel()

    run(case())


def test_idle_stream_is_kept_open_without_reads(ledger: CountingLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING", timedelta(seconds=0.02))

    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        line = Line(ledger, waiting, accept(ledger))
        await line.next()
        reads = ledger.reads
        assert [await line.next() for _ in range(3)] == [": ping\n\n"] * 3
        assert ledger.reads == reads

    run(case())


def test_stream_survives_a_store_outage(
    ledger: CountingLedger, store: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PING", timedelta(seconds=0.02))

    async def case() -> None:
        waiting = Waiting(ledger, reread=timedelta(seconds=0.02))
        rereading = asyncio.create_task(waiting.reread())
        async with store.followed(waiting):
            line = Line(ledger, waiting, accept(ledger))
            store.away = True
            assert await line.next() == ": ping\n\n"
            store.away = False
            end_next(ledger)
            assert named(await line.rest()) == WHOLE
            rereading.cancel()

    run(case())


def test_stopping_process_ends_every_stream(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        line = Line(ledger, waiting, accept(ledger))
        await line.next()
        rest = asyncio.create_task(line.rest())
        await asyncio.sleep(0)
        waiting.hurry()
        assert await rest == ""
        assert not waiting.of_transitions

    run(case())


def test_disconnected_reader_leaves_nothing_behind(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        line = Line(ledger, waiting, job_id)
        await line.next()
        rest = asyncio.create_task(line.rest())
        await asyncio.sleep(0)
        rest.cancel()
        await asyncio.gather(rest, return_exceptions=True)
        await until(lambda: waiting._watches == {})
        assert waiting._watches == {}
        job = ledger.read(job_id)
        assert job is not None
        assert job.status is Status.QUEUED

    run(case())


def test_thousand_streams_need_no_threads_and_tasks(ledger: CountingLedger, store: LiveStore) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        async with store.followed(waiting):
            job_id = accept(ledger)
            tasks = len(asyncio.all_tasks())
            lines = [Line(ledger, waiting, job_id) for _ in range(1000)]
            for line in lines:
                await line.next()
            assert len(asyncio.all_tasks()) == tasks
            end_next(ledger)
            rests = await asyncio.gather(*(line.rest() for line in lines))
            assert {tuple(named(rest)) for rest in rests} == {tuple(WHOLE[1:])}

    run(case())


def test_unknown_event_id_counts_as_none(ledger: CountingLedger) -> None:
    job = ledger.read(accept(ledger))
    assert job is not None
    assert [_seen(text, job) for text in (None, "1", "2", "01", "+1", "1.0")] == [0, 1, 0, 1, 0, 0]
