"""Liveness sessions end to end: real gateway, store, worker (fake engine) and courier; cards stand in for heads."""

import base64
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from shared.ledger import keys
from shared.liveness_sessions import Step
from shared.webhooks.schemas import EventType
from shared.webhooks.signing import new_secret
from tests.integration.cards import PINK, WALL, Card, movement
from tests.stacks import FAKE, serving
from tools.receiver import TO_THIS_MACHINE, Callback, receiving
from tools.stack import Stack

SECRET = new_secret()
PATH = "/v1/liveness-sessions"
ONE_TURN = {"movements": 1, "kinds": ["turn_left"]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {**FAKE, **TO_THIS_MACHINE, "VULTUS_WEBHOOK_SECRETS": SECRET}
    with serving(tmp_path_factory.mktemp("sessions"), settings) as running:
        yield running


class Client:
    """A server that opens a session, and the client that receives the token."""

    def __init__(self, service: Stack, **request: Any) -> None:
        self.service = service
        answer = requests.post(f"{service.url}{PATH}", json={**ONE_TURN, **request}, timeout=30)
        assert answer.status_code == 201, answer.text
        self.opened = answer.json()
        self.url = service.url + self.opened["urls"]["self"]
        self.sequence = 0

    def send(self, image: bytes, *, token: str | None = None) -> requests.Response:
        self.sequence += 1
        return requests.post(
            f"{self.url}/frames",
            files={"image": image},
            data={"sequence": self.sequence, "taken_at": time.monotonic() * 1000},
            headers={"Session-Token": self.opened["client_token"] if token is None else token},
            timeout=30,
        )

    def shows(self, card: Card) -> dict[str, Any]:
        answer = self.send(card.jpeg())
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def read(self, **query: int) -> dict[str, Any]:
        answer = requests.get(self.url, params=query, timeout=60)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def everything(service: Stack) -> bytes:
    """Everything in the ledger."""
    with service.ledger.client() as client:
        return b"".join(key + (client.dump(key) or b"") for key in client.scan_iter("*"))


def test_a_cooperative_person_passes_and_the_callback_says_so(service: Stack) -> None:
    heard: queue.Queue[Callback] = queue.Queue()
    with receiving(secret=SECRET, heard=heard.put) as url:
        kinds = ["turn_left", "turn_right", "look_up", "come_closer"]
        client = Client(service, movements=4, kinds=kinds, webhook={"url": url}, metadata={"case": 7})
        card, session = Card(), client.read()
        for step in [Step(each["step"]) for each in session["steps"]]:
            for pose in ({}, movement(step)):
                card = Card(number=card.number).posed(**pose)
                session = client.shows(card)
                if session["status"] != "running":
                    break
        assert (session["status"], session["reason"]) == ("passed", None)
        callback = heard.get(timeout=10)
    assert callback.problem is None
    assert callback.body["type"] == "liveness_session.completed"
    assert callback.body["data"] == {
        "id": client.opened["id"], "status": "passed", "reason": None, "url": client.opened["urls"]["self"],
    }  # fmt: skip
    body = client.read()
    assert [each["status"] for each in body["steps"]] == ["passed"] * 6
    assert body["metadata"] == {"case": 7}
    assert requests.get(f"{service.url}/v1/jobs", timeout=10).json()["jobs"] == []


@pytest.mark.parametrize("shown", ["a face", "no face"])
def test_no_endpoint_is_notified_of_the_job_of_a_reference(service: Stack, shown: str) -> None:
    url = f"{service.url}/v1/webhook-endpoints"
    body = {
        "url": "http://127.0.0.1:65000/",
        "events": [event.value for event in EventType if event is not EventType.TEST],
    }
    endpoint = requests.post(url, json=body, timeout=30)
    assert endpoint.status_code == 201, endpoint.text
    before = job_events(service)
    image = (Card() if shown == "a face" else Card(colour=WALL)).jpeg()
    request = {**ONE_TURN, "reference": {"base64": base64.b64encode(image).decode()}}
    answer = requests.post(f"{service.url}{PATH}", json=request, timeout=30)
    assert answer.status_code == (201 if shown == "a face" else 422), answer.text
    assert job_events(service) == before  # its job has finished, so an event would exist by now
    assert requests.delete(f"{url}/{endpoint.json()['id']}", timeout=30).status_code == 204


def job_events(service: Stack) -> set[bytes]:
    """Sent and pending events for completed jobs."""
    with service.ledger.client() as client:
        rows = [row for key in client.scan_iter("*:outbox") for row in client.lrange(key, 0, -1) if b'"job.' in row]
        events = [key for key in client.scan_iter("*:event:*") if (client.hget(key, "type") or b"").startswith(b"job.")]
        return {*rows, *events}


Cheat = Callable[[Client, Card], dict[str, Any]]


def many(*cards: Callable[[Card], Card]) -> Cheat:
    def cheat(client: Client, card: Card) -> dict[str, Any]:
        session: dict[str, Any] = {}
        for change in cards:
            card = change(card)
            session = client.shows(card)
        return session

    return cheat


def replay(client: Client, card: Card) -> dict[str, Any]:
    client.shows(card.posed())
    return client.shows(card)


def late(client: Client, card: Card) -> dict[str, Any]:
    time.sleep(3.1)
    return client.shows(card.posed())


def idle(client: Client, _card: Card) -> dict[str, Any]:
    return client.read(wait=20)


CHEATS: dict[str, Cheat] = {
    "flat_face": many(lambda card: card.posed(narrow=0.7), lambda card: card.posed(narrow=0.65)),
    "still_picture": many(*[lambda card: card] * 4),
    "another_person": many(lambda card: card.posed(colour=PINK, yaw=38.0), lambda card: card.posed(yaw=39.0)),
    "wrong_step": many(lambda card: card.posed(yaw=-38.0)),
    "replayed_frame": replay,
    "late_frame": late,
    "step_timeout": idle,
}


@pytest.mark.parametrize("reason", list(CHEATS))
def test_each_attack_fails_with_its_reason(service: Stack, reason: str) -> None:
    client = Client(service, step_seconds=3)
    assert client.shows(Card())["number"] == 1
    session = CHEATS[reason](client, Card())
    assert (session["status"], session["reason"]) == ("failed", reason)
    assert client.read()["reason"] == reason
    answer = client.send(Card(number=50).jpeg())
    assert (answer.status_code, answer.json()["code"]) == (409, "session_ended")


def test_the_sweep_ends_an_abandoned_session(service: Stack) -> None:
    client = Client(service, seconds=10)
    client.shows(Card())
    ended = client.read(wait=20)
    assert (ended["status"], ended["reason"]) == ("expired", "session_timeout")


def test_only_one_of_several_concurrent_frames_is_accepted(service: Stack) -> None:
    client = Client(service)
    client.shows(Card())
    answers: list[requests.Response] = []
    begin = threading.Barrier(6)

    def post(number: int) -> None:
        image = Card(number=number).jpeg()
        begin.wait()
        answers.append(
            requests.post(
                f"{client.url}/frames",
                files={"image": image},
                data={"sequence": number, "taken_at": time.monotonic() * 1000},
                headers={"Session-Token": client.opened["client_token"]},
                timeout=30,
            )
        )

    threads = [threading.Thread(target=post, args=(number,)) for number in range(10, 16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [answer.json() for answer in answers if answer.status_code == 200]
    refused = [answer.json()["code"] for answer in answers if answer.status_code == 409]
    assert len(taken) + len(refused) == 6
    assert taken
    assert set(refused) <= {"frame_in_work", "session_ended"}
    assert client.read()["frames"] <= 1 + len(taken)


def test_a_token_is_valid_only_for_its_own_session(service: Stack) -> None:
    client, other = Client(service), Client(service)
    for token in ("", "x.y.z", other.opened["client_token"], client.opened["client_token"][:-20] + "x" * 20):
        answer = client.send(Card().jpeg(), token=token)
        assert (answer.status_code, answer.json()["code"]) == (401, "client_token_invalid")
    assert client.read()["frames"] == 0


def test_erased_sessions_leave_nothing_and_finished_ones_no_face_data(service: Stack) -> None:
    erased, ended = Client(service), Client(service)
    for client in (erased, ended):
        client.shows(Card())
        with service.ledger.client() as store:
            assert b"anchor" in store.hget(keys.session(0, client.opened["id"]), "memory")
    assert requests.delete(erased.url, timeout=10).status_code == 204
    ended.shows(Card().posed(yaw=-38.0))
    held = everything(service)
    assert erased.opened["id"].encode() not in held
    assert ended.opened["id"].encode() in held
    with service.ledger.client() as store:
        assert not store.hexists(keys.session(0, ended.opened["id"]), "memory")
    assert b":image:" not in held
    assert b":job:job_" not in held
    assert requests.get(erased.url, timeout=10).json()["code"] == "session_not_found"
    assert "vector" not in json.dumps(ended.read())
