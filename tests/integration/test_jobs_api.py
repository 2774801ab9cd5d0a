"""The HTTP API of jobs against real stores and two real gateways; the test itself is the worker."""

import concurrent.futures
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from shared.errors import ErrorCode
from shared.jobs import Claim, JobFailure
from shared.ledger import keys
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from tests.photos import ASTRONAUT, NO_FACE
from tools.ports import LOOPBACK, free_port
from tools.service import Service
from tools.stack import Stack

STUMBLED = JobFailure(ErrorCode.MODEL_FAILURE, "The model stumbled.", retryable=True)
RESULT = {"kind": "faces", "faces": []}


class Gateways:
    """Two gateways over one ledger, with the test as the only worker."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        port = free_port()
        self.second = Service(
            "gateway-2",
            [sys.executable, "-m", "api.app"],
            {**stack.environment, "VULTUS_PORT": str(port)},
            lambda *_: None,
        )
        self.urls = [stack.url, f"http://{LOOPBACK}:{port}"]
        self.client = connect(SecretStr(stack.ledger.url))
        self.ledger = Ledger(self.client, shards=1, lease=timedelta(seconds=30))

    def start(self) -> None:
        self.stack.wait_gateway(30)
        self.second.start()
        deadline = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < deadline, self.second.last_lines
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.urls[1]}/livez", timeout=2).ok
        except requests.RequestException:
            return False

    def submit(self, *, at: int = 0, **more: Any) -> requests.Response:
        photo = more.pop("photo", ASTRONAUT)
        headers = more.pop("headers", {})
        return requests.post(
            f"{self.urls[at]}/v1/jobs",
            data={"operation": "detect", **more},
            files={"image": photo.read_bytes()},
            headers=headers,
            timeout=30,
        )

    def call(self, method: str, path: str, *, at: int = 0, **more: Any) -> requests.Response:
        return requests.request(method, self.urls[at] + path, timeout=30, **more)

    def claim(self) -> Claim:
        claim = self.ledger.claim("the-test")
        assert claim is not None
        return claim

    def end(self, failure: JobFailure | None = None) -> Claim:
        claim = self.claim()
        assert self.ledger.finish(
            claim.job.id, claim.token, Outcome(result=None if failure else RESULT, failure=failure)
        )
        return claim

    def subscribers(self) -> int:
        with self.stack.ledger.client() as client:
            return int(dict(client.pubsub_numsub(keys.transitions(0)))[keys.transitions(0).encode()])


class Stream:
    """A stream of events, read line by line as curl would."""

    def __init__(self, url: str, **headers: str) -> None:
        self.answer = requests.get(url, headers=headers, stream=True, timeout=30)
        self._lines = self.answer.iter_lines(chunk_size=1, decode_unicode=True)

    def next(self) -> dict[str, Any] | None:
        """The next event, or None if the stream has ended."""
        fields: dict[str, Any] = {}
        for line in self._lines:
            if not line and "data" in fields:
                return {**fields, "data": json.loads(fields["data"])}
            if line and not line.startswith(":"):
                name, value = line.split(": ", 1)
                fields[name] = value
        return None

    def rest(self) -> list[str]:
        return [event["event"] for event in iter(self.next, None)]


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    stack = Stack(
        data=tmp_path_factory.mktemp("gateways"), port=free_port(), workers=0, settings={}, sink=lambda *_: None
    )
    with stack:
        running = Gateways(stack)
        running.start()
        yield running
        running.second.signal(signal.SIGTERM)
        running.second.stop()
        running.client.close()


@pytest.fixture(autouse=True)
def _nothing_waits(gateways: Gateways) -> Iterator[None]:
    yield
    while (claim := gateways.ledger.claim("the-test")) is not None:
        gateways.ledger.delete(claim.job.id)


def test_a_waiting_job_is_canceled_and_never_claimed(gateways: Gateways) -> None:
    job = gateways.submit().json()
    answer = gateways.call("POST", job["urls"]["cancel"], at=1)
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert gateways.ledger.claim("the-test") is None
    with gateways.stack.ledger.client() as client:
        assert client.exists(keys.image(0, job["id"])) == 0


def test_a_running_job_is_canceled_at_once_and_its_result_dropped(gateways: Gateways) -> None:
    job = gateways.submit().json()
    claim = gateways.claim()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waited = pool.submit(gateways.call, "GET", f"{job['urls']['self']}?wait=20")
        time.sleep(0.2)
        began = time.monotonic()
        assert gateways.call("POST", job["urls"]["cancel"], at=1).status_code == 200
        assert waited.result().json()["status"] == "canceled"
        assert time.monotonic() - began < 1
    assert not gateways.ledger.finish(job["id"], claim.token, Outcome(result=RESULT))
    after = gateways.call("GET", job["urls"]["self"]).json()
    assert (after["status"], after["result"]) == ("canceled", None)
    again = gateways.call("POST", job["urls"]["cancel"])
    assert (again.status_code, again.json()) == (200, after)


def test_a_finished_job_cannot_be_canceled(gateways: Gateways) -> None:
    job = gateways.submit().json()
    gateways.end()
    answer = gateways.call("POST", job["urls"]["cancel"])
    assert (answer.status_code, answer.json()["code"]) == (409, "job_ended")


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed"])
def test_an_erased_job_leaves_nothing_in_the_store(gateways: Gateways, state: str) -> None:
    key = f'"erase-{state}"'
    job = gateways.submit(metadata='{"name": "a person"}', headers={"Idempotency-Key": key}).json()
    if state == "running":
        gateways.claim()
    elif state != "queued":
        gateways.end(STUMBLED if state == "failed" else None)
    assert gateways.call("DELETE", job["urls"]["self"], at=1).status_code == 204
    assert gateways.call("GET", job["urls"]["self"]).status_code == 404
    assert gateways.call("DELETE", job["urls"]["self"]).status_code == 404
    with gateways.stack.ledger.client() as client:
        for name in client.keys("*"):
            assert job["id"].encode() not in name
            assert job["id"].encode() not in (client.dump(name) or b"")
    again = gateways.submit(photo=NO_FACE, headers={"Idempotency-Key": key})
    assert (again.status_code, "Idempotent-Replayed" in again.headers) == (202, False)


def test_erasing_a_job_ends_its_waits(gateways: Gateways) -> None:
    job = gateways.submit().json()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waited = pool.submit(gateways.call, "GET", f"{job['urls']['self']}?wait=20")
        time.sleep(0.2)
        gateways.call("DELETE", job["urls"]["self"], at=1)
        assert waited.result().status_code == 404


def test_a_retry_is_a_new_job_with_the_same_image(gateways: Gateways) -> None:
    job = gateways.submit(priority="high", metadata='{"a": 1}').json()
    gateways.end(STUMBLED)
    retry = gateways.call("GET", job["urls"]["self"]).json()["urls"]["retry"]
    answers = [gateways.call("POST", retry, at=at) for at in (0, 1)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["Location"] == answers[0].json()["urls"]["self"]
    claim = gateways.end()
    assert (claim.job.id, claim.image) == (answers[0].json()["id"], ASTRONAUT.read_bytes())
    new = gateways.call("GET", answers[0].headers["Location"]).json()
    assert (new["status"], new["retry_of"], new["priority"], new["metadata"]) == (
        "succeeded",
        job["id"],
        "high",
        {"a": 1},
    )
    old = gateways.call("GET", job["urls"]["self"]).json()
    assert (old["status"], old["retried_as"]) == ("failed", new["id"])


def test_a_job_expires_at_its_deadline(gateways: Gateways) -> None:
    job = gateways.submit(headers={"Cancel-After": "200ms"}).json()
    ended = gateways.call("GET", f"{job['urls']['self']}?wait=10").json()
    assert ended["status"] == "expired"
    assert ended["start_by"] == job["start_by"]
    assert ended["start_by"] <= ended["finished_at"]


def test_pages_from_both_gateways_show_every_job_once(gateways: Gateways) -> None:
    began = gateways.submit().json()
    ids = [gateways.submit(at=number % 2).json()["id"] for number in range(7)]
    seen: list[str] = []
    query = {"status": "queued", "operation": "detect", "created_after": began["created_at"], "limit": "3"}
    cursor, turn = None, 0
    while cursor or not seen:
        page = gateways.call("GET", "/v1/jobs", at=turn % 2, params={**query, "cursor": cursor} if cursor else query)
        assert page.status_code == 200, page.text
        seen += [job["id"] for job in page.json()["jobs"]]
        cursor, turn = page.json()["next_cursor"], turn + 1
        gateways.call("POST", f"/v1/jobs/{ids[-1]}/cancel")  # it leaves the list while the list is read
    assert [job_id for job_id in seen if job_id != began["id"]] == ids[::-1]


def test_a_job_can_be_followed_at_another_gateway(gateways: Gateways) -> None:
    job = gateways.submit().json()
    stream = Stream(gateways.urls[1] + job["urls"]["events"])
    assert stream.answer.headers["Content-Type"].startswith("text/event-stream")
    first = stream.next()
    assert first is not None
    assert (first["event"], first["id"], first["data"]["number"]) == ("queued", "1", 1)
    claim = gateways.claim()
    began = time.monotonic()
    second = stream.next()
    assert second is not None
    assert (second["event"], second["id"]) == ("running", "2")
    assert time.monotonic() - began < 1
    gateways.ledger.finish(job["id"], claim.token, Outcome(result=RESULT))
    assert stream.rest() == ["succeeded", "end"]
    resumed = Stream(gateways.urls[0] + job["urls"]["events"], **{"Last-Event-ID": "2"})
    assert resumed.rest() == ["succeeded", "end"]
    end = Stream(gateways.urls[0] + job["urls"]["events"], **{"Last-Event-ID": "3"}).next()
    assert end is not None
    assert end["data"] == gateways.call("GET", job["urls"]["self"]).json()
    assert Stream(gateways.urls[0] + job["urls"]["events"], **{"Last-Event-ID": "end"}).answer.status_code == 204


def test_the_stream_of_an_erased_job_ends(gateways: Gateways) -> None:
    job = gateways.submit().json()
    stream = Stream(gateways.urls[1] + job["urls"]["events"])
    stream.next()
    gateways.call("DELETE", job["urls"]["self"])
    assert stream.rest()[-1] == "deleted"
    answer = requests.get(gateways.urls[1] + job["urls"]["events"], timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


def test_only_gateways_with_a_stream_hear_every_transition(gateways: Gateways) -> None:
    job = gateways.submit().json()
    before = gateways.subscribers()
    assert before <= 2
    streams = [Stream(gateways.urls[0] + job["urls"]["events"]) for _ in range(5)]
    for stream in streams:
        stream.next()
    deadline = time.monotonic() + 5
    while gateways.subscribers() == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert gateways.subscribers() <= 2
    gateways.call("POST", job["urls"]["cancel"])
    assert [stream.rest() for stream in streams] == [["canceled", "end"]] * 5


def test_three_hundred_streams_need_no_threads_and_all_end(gateways: Gateways) -> None:
    job = gateways.submit().json()
    streams = [Stream(gateways.urls[0] + job["urls"]["events"]) for _ in range(300)]
    for stream in streams:
        stream.next()
    assert gateways.call("GET", "/livez").ok
    gateways.end()
    assert all(stream.rest()[-1] == "end" for stream in streams)


def test_equal_concurrent_submissions_at_both_gateways_are_one_job(gateways: Gateways) -> None:
    start = threading.Barrier(40)

    def send(number: int) -> requests.Response:
        start.wait()
        return gateways.submit(at=number % 2, headers={"Idempotency-Key": '"at-once"'})

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(send, range(40)))
    counted = Counter(answer.status_code for answer in answers)
    assert set(counted) <= {202, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
    fresh = [answer for answer in answers if answer.status_code == 202 and "Idempotent-Replayed" not in answer.headers]
    assert len(fresh) == 1
    assert all(answer.headers["Retry-After"] == "1" for answer in answers if answer.status_code == 409)
    assert gateways.ledger.depth() == (1, 0)
    other = gateways.submit(at=1, photo=NO_FACE, headers={"Idempotency-Key": "at-once"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    gateways.end()
    again = gateways.submit(at=1, headers={"Idempotency-Key": "at-once"})
    assert (again.status_code, again.json()["status"]) == (200, "succeeded")


def test_a_stopping_gateway_ends_its_streams_and_exits(gateways: Gateways) -> None:
    job = gateways.submit().json()
    stream = Stream(gateways.urls[1] + job["urls"]["events"])
    stream.next()
    began = time.monotonic()
    gateways.second.signal(signal.SIGTERM)
    assert stream.rest() == []
    assert gateways.second.wait(8)
    assert time.monotonic() - began < 5
    assert gateways.second.exit_code() == 0
    gateways.second.start()
    resumed: list[Stream] = []
    deadline = time.monotonic() + 30
    while not resumed and time.monotonic() < deadline:
        try:
            resumed.append(Stream(gateways.urls[1] + job["urls"]["events"], **{"Last-Event-ID": "1"}))
        except requests.ConnectionError:
            time.sleep(0.1)
    gateways.end()
    assert resumed[0].rest() == ["running", "succeeded", "end"]
