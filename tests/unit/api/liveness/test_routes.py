"""`/v1/liveness-sessions`: opened by a server, then driven frame by frame by a client with a token."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import jwt
import pytest

from shared.errors import ErrorCode
from shared.jobs import Claim, JobFailure, Priority
from shared.liveness_sessions import Session, SessionStatus, Step, new_session_id
from shared.operations import Operation
from shared.results import FrameResult
from tests.doubles import WORKER
from tests.heads import Head, result
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.performing import honest
from tests.unit.api.pictures import JPEG, PNG

SECRET = "s" * 32
PATH = "/v1/liveness-sessions"
TWO_TURNS = {"movements": 2, "kinds": ["turn_left", "turn_right"]}


class Client:
    """The client at the camera."""

    def __init__(self, gateway: Gateway, opened: dict[str, Any]) -> None:
        self.gateway = gateway
        self.path = opened["urls"]["self"]
        self.headers = {"Session-Token": opened["client_token"]}
        self.sequence = 0

    def post(
        self,
        image: bytes | None = None,
        *,
        headers: dict[str, str] | None = None,
        fields: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Post the next image."""
        self.sequence += 1
        form = {"sequence": str(self.sequence), "taken_at": str(self.sequence * 5.0), **(fields or {})}
        return self.gateway.post(
            f"{self.path}/frames",
            files={"image": picture(self.sequence) if image is None else image},
            data=form,
            headers=self.headers if headers is None else headers,
        )

    def shows(self, seen: FrameResult | JobFailure) -> dict[str, Any]:
        """Post the next image, for which the worker returns this result."""
        self.gateway.worker.script = lambda _claim: (
            seen if isinstance(seen, JobFailure) else seen.model_dump(mode="json")
        )
        answer = self.post()
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def read(self) -> dict[str, Any]:
        answer = self.gateway.get(self.path, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def picture(number: int) -> bytes:
    """A unique JPEG."""
    comment = f"picture {number}".encode()
    return JPEG[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + JPEG[2:]


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    return make_gateway(session_secrets=SECRET)


def opened(gateway: Gateway, **asked: Any) -> dict[str, Any]:
    answer = gateway.post(PATH, json=asked)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.fixture
def client(gateway: Gateway) -> Client:
    return Client(gateway, opened(gateway, **TWO_TURNS))


def kept(gateway: Gateway, session_id: str) -> Session:
    """The session as the store holds it."""
    session = gateway.stores.sessions.read(session_id)
    assert session is not None
    return session


def steps_of(gateway: Gateway, client: Client) -> tuple[Step, ...]:
    return tuple(Step(each["step"]) for each in gateway.get(client.path).json()["steps"])


def performance(gateway: Gateway, client: Client) -> Iterator[FrameResult]:
    return honest(steps_of(gateway, client), Head())


# --- opening ------------------------------------------------------------------------------------------------------


def test_a_session_is_opened_with_a_challenge_a_token_and_deadlines(gateway: Gateway) -> None:
    answer = gateway.post(PATH, json={"metadata": {"case": "A-17"}, "seconds": 60})
    body = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"{PATH}/{body['id']}")
    assert (body["status"], body["reason"], body["frames"], body["metadata"]) == ("running", None, 0, {"case": "A-17"})
    assert (body["step_ends_at"], body["finished_at"]) == (None, None)
    assert [each["status"] for each in body["steps"]] == ["asked", *["waiting"] * 4]
    assert jwt.decode(body["client_token"], options={"verify_signature": False})["sub"] == body["id"]
    assert body["ends_at"] < body["client_token_expires_at"]
    assert "client_token" not in gateway.get(body["urls"]["self"]).json()


def test_empty_body_uses_the_defaults(gateway: Gateway) -> None:
    answer = gateway.post(PATH)
    assert (answer.status_code, len(answer.json()["steps"])) == (201, 5)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"movements": 0}, "movements"),
        ({"movements": 7}, "movements"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["look_straight"]}, "kinds.0"),
        ({"kinds": ["look_up", "blink"]}, ""),
        ({"kinds": ["turn_left"], "movements": 2}, ""),
        ({"seconds": 9}, "seconds"),
        ({"step_seconds": 121}, "step_seconds"),
        ({"surprise": 1}, "surprise"),
        ({"reference": {}}, "reference"),
        ({"reference": {"base64": "!"}}, "reference.base64"),
        ({"metadata": {"long": "x" * 3000}}, "metadata"),
    ],
)
def test_invalid_option_is_reported_with_its_field(gateway: Gateway, asked: dict[str, Any], field: str) -> None:
    errors = problem(gateway.post(PATH, json=asked), 422, "invalid_request")["errors"]
    assert errors[0]["field"] == field
    assert gateway.store.ids("session") == []


def test_without_a_secret_sessions_are_off(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    problem(gateway.post(PATH, json={}), 422, "sessions_off")
    token = {"Session-Token": "x.y.z"}
    problem(gateway.get(f"{PATH}/{new_session_id(shard=0, now_ms=1)}", headers=token), 401, "client_token_invalid")


def test_wrong_content_type_and_invalid_json_are_rejected(gateway: Gateway) -> None:
    problem(gateway.post(PATH, data={"movements": "3"}), 415, "unsupported_media_type")
    problem(gateway.post(PATH, content=b"{", headers={"Content-Type": "application/json"}), 400, "malformed_json")


def test_blink_requires_an_eye_model_on_every_worker(gateway: Gateway) -> None:
    asked = {"kinds": ["turn_left", "blink"]}
    assert problem(gateway.post(PATH, json=asked), 422, "invalid_request")["errors"][0]["field"] == "kinds"
    gateway.presence.workers = [replace(WORKER, attributes=("pose", "eyes"))]
    assert gateway.post(PATH, json=asked).status_code == 201


# --- the client's side --------------------------------------------------------------------------------------------


def test_cooperative_person_passes_and_the_server_reads_the_evidence(gateway: Gateway, client: Client) -> None:
    told: dict[str, Any] = client.read()
    assert (told["step"], told["number"], told["of"], told["look_straight_first"]) == ("look_straight", 0, 4, False)
    for seen in performance(gateway, client):
        told = client.shows(seen)
        if told["status"] != "running":
            break
    assert (told["status"], told["reason"], told["step"], told["number"]) == ("passed", None, None, 4)
    body = gateway.get(client.path).json()
    assert [each["status"] for each in body["steps"]] == ["passed"] * 4
    assert all(each["evidence"] and each["passed_at"] for each in body["steps"])
    assert body["finished_at"] < body["expires_at"]
    assert kept(gateway, body["id"]).status is SessionStatus.PASSED
    assert kept(gateway, body["id"]).memory == ""
    assert gateway.jobs() == [], "no job of a frame is left"


def test_frame_has_high_priority_and_is_in_no_list(gateway: Gateway, client: Client) -> None:
    seen: list[Claim] = []

    def work(claim: Claim) -> dict[str, Any]:
        seen.append(claim)
        return result(Head()).model_dump(mode="json")

    gateway.worker.script = work
    assert client.post().status_code == 200
    (claim,) = seen
    assert (claim.job.operation, claim.job.priority) == (Operation.FRAME, Priority.HIGH)
    assert gateway.get("/v1/jobs").json()["jobs"] == []


def test_client_sees_one_step_at_a_time_and_no_measurements(gateway: Gateway, client: Client) -> None:
    told = client.shows(result(Head()))
    assert set(told) == {
        "id", "status", "reason", "step", "look_straight_first", "number", "of", "hint", "ends_at", "step_ends_at",
        "frames",
    }  # fmt: skip
    assert (told["number"], told["hint"], told["frames"]) == (1, "well_done", 1)
    assert told["step"] == steps_of(gateway, client)[1]
    assert told["step_ends_at"] is not None


Cheat = Callable[[Head, Step], list[FrameResult]]
SIDES = {Step.TURN_LEFT: 35.0, Step.TURN_RIGHT: -35.0}
CHEATS: dict[str, Cheat] = {
    "flat_face": lambda head, step: [
        result(replace(head.posed(yaw=SIDES[step] * share), depth=0.0, looks=SIDES[step])) for share in (1.0, 1.1)
    ],
    "another_person": lambda head, step: [
        result(head.posed(person=9, yaw=SIDES[step] * share)) for share in (1.0, 1.1)
    ],
    "wrong_step": lambda head, step: [result(head.posed(yaw=-SIDES[step]))],
    "still_picture": lambda head, _: [result(head)] * 4,
    "several_faces": lambda head, _: [result(head, faces=2)] * 3,
}


@pytest.mark.parametrize("reason", sorted(CHEATS))
def test_each_cheat_fails_with_its_reason(gateway: Gateway, client: Client, reason: str) -> None:
    head = Head()
    step = Step(client.shows(result(head))["step"])
    told: dict[str, Any] = {}
    for seen in CHEATS[reason](head, step):
        told = client.shows(seen)
    assert (told["status"], told["reason"]) == ("failed", reason)
    body = gateway.get(client.path).json()
    assert (body["status"], body["reason"]) == ("failed", reason)
    assert "missed" in {each["status"] for each in body["steps"]}


def test_replayed_frame_fails_before_analysis(gateway: Gateway, client: Client) -> None:
    client.shows(result(Head()))
    client.shows(result(Head().posed()))
    answer = client.post(picture(1))
    assert (answer.status_code, answer.json()["reason"]) == (200, "replayed_frame")
    assert gateway.doorbell.rings == 2


@pytest.mark.parametrize("fields", [{"sequence": "0"}, {"taken_at": "0.5"}])
def test_frame_that_goes_back_is_out_of_order(client: Client, fields: dict[str, str]) -> None:
    client.shows(result(Head()))
    assert client.post(fields=fields).json()["reason"] == "out_of_order"


def test_a_late_frame_fails_with_its_reason(gateway: Gateway, client: Client) -> None:
    client.shows(result(Head()))
    gateway.store.set_clock(by=21)
    assert client.post().json()["reason"] == "late_frame"


def test_session_expires_at_its_time_limit(gateway: Gateway, client: Client) -> None:
    gateway.store.set_clock(by=121)
    answer = client.post()
    assert (answer.json()["status"], answer.json()["reason"]) == ("expired", "session_timeout")
    problem(client.post(), 409, "session_ended")


def test_the_same_frame_sent_twice_is_one_request(gateway: Gateway, client: Client) -> None:
    first = client.shows(result(Head()))
    client.sequence = 0
    assert client.post().json() == first
    assert kept(gateway, first["id"]).frames == 1


def test_only_one_frame_is_analyzed_at_a_time(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(session_secrets=SECRET, sync_timeout=0.2)
    client = Client(gateway, opened(gateway))
    gateway.worker.script = None
    answer = client.post()
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["number"]) == (202, "1", 0)
    refused = client.post()
    problem(refused, 409, "frame_in_work")
    assert refused.headers["retry-after"] == "1"
    gateway.worker.script = lambda _: result(Head()).model_dump(mode="json")
    gateway.worker.heard()
    assert client.read()["number"] == 1, "the first read advances the session"


def test_a_frame_whose_job_fails_is_not_readable(client: Client) -> None:
    failure = JobFailure(ErrorCode.INVALID_IMAGE, "Not an image.")
    assert client.shows(failure)["hint"] == "not_readable"
    client.shows(failure)
    told = client.shows(failure)
    assert (told["status"], told["reason"]) == ("failed", "not_analyzed")


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"", 400, "empty_image"),
        (b"no picture at all", 415, "unsupported_image_type"),
        (PNG[:40], 400, "invalid_image"),
    ],
    ids=["empty", "text", "cut off"],
)
def test_a_file_that_is_not_an_image_is_refused_and_does_not_count(
    gateway: Gateway, client: Client, image: bytes, status: int, code: str
) -> None:
    problem(client.post(image), status, code)
    assert gateway.get(client.path).json()["frames"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"sequence": "-1"},
        {"sequence": "1.5"},
        {"sequence": "x"},
        {"sequence": "9" * 309},
        {"sequence": "9" * 5000},
        {"taken_at": "1e308"},
        {"taken_at": "nan"},
        {"taken_at": "inf"},
    ],
)
def test_invalid_numbers_are_refused(client: Client, fields: dict[str, str]) -> None:
    (error,) = problem(client.post(fields=fields), 422, "invalid_request")["errors"]
    assert error["field"] == next(iter(fields))


def test_full_queue_rejects_a_frame_and_ends_nothing(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(session_secrets=SECRET, queue_limit=1)
    client = Client(gateway, opened(gateway))
    gateway.post("/v1/jobs", files={"image": JPEG}, data={"operation": "detect"})
    problem(client.post(), 503, "queue_full")
    assert client.read()["status"] == "running"


# --- the token ----------------------------------------------------------------------------------------------------


def test_token_is_valid_only_for_its_own_session(gateway: Gateway, client: Client) -> None:
    other = opened(gateway)
    problem(client.post(headers={}), 401, "client_token_invalid")
    problem(client.post(headers={"Session-Token": other["client_token"]}), 401, "client_token_invalid")
    problem(client.post(headers={"Session-Token": other["client_token"][:-1] + "x"}), 401, "client_token_invalid")
    problem(gateway.get(other["urls"]["self"], headers=client.headers), 401, "client_token_invalid")
    assert kept(gateway, other["id"]).frames == 0


# --- reading, ending, erasing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nonsense", "live_x", "live_" + "0" * 34, "job_" + "0" * 34])
def test_unknown_session_is_404(gateway: Gateway, name: str) -> None:
    problem(gateway.get(f"{PATH}/{name}"), 404, "session_not_found")
    problem(gateway.request("DELETE", f"{PATH}/{name}"), 404, "session_not_found")
    problem(gateway.post(f"{PATH}/{name}/cancel"), 404, "session_not_found")


def test_wait_ends_with_the_session(gateway: Gateway, client: Client) -> None:
    running = gateway.get(f"{client.path}?wait=0")
    assert (running.headers["retry-after"], running.headers["preference-applied"]) == ("1", "wait=0")
    gateway.stores.sessions.cancel(client.path.rpartition("/")[2])
    ended = gateway.get(f"{client.path}?wait=30")
    assert (ended.json()["status"], ended.headers["preference-applied"]) == ("canceled", "wait=30")
    assert "retry-after" not in ended.headers


def test_repeated_cancel_succeeds_and_changes_no_other_end(gateway: Gateway, client: Client) -> None:
    for _ in range(2):
        answer = gateway.post(f"{client.path}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    problem(client.post(), 409, "session_ended")
    other = Client(gateway, opened(gateway))
    gateway.store.set_clock(by=121)
    gateway.ledger.reap(max_attempts=3)
    problem(gateway.post(f"{other.path}/cancel"), 409, "session_ended")


def test_session_can_be_deleted_in_any_state(gateway: Gateway, client: Client) -> None:
    client.shows(result(Head()))
    assert gateway.request("DELETE", client.path).status_code == 204
    problem(gateway.get(client.path), 404, "session_not_found")
    problem(client.post(), 404, "session_not_found")
    assert gateway.jobs() == []


# --- the reference ------------------------------------------------------------------------------------------------
