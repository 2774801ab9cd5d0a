"""Webhooks end to end: real gateway, worker (fake engine) and courier; the receiver verifies as a partner would."""

import json
import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from shared.webhooks.signing import new_secret
from tests.photos import ASTRONAUT
from tests.stacks import FAKE, serving
from tools.ports import free_port
from tools.receiver import TO_THIS_MACHINE, Callback, receiving
from tools.stack import Stack

SECRET = new_secret()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {
        **FAKE,
        **TO_THIS_MACHINE,
        "VULTUS_WEBHOOK_SECRETS": SECRET,
        "VULTUS_WEBHOOK_RETRIES": "0.3,0.3,0.3",
        "VULTUS_PUBLIC_URL": "https://faces.example.org",
    }
    with serving(tmp_path_factory.mktemp("webhooks"), settings) as running:
        yield running


class Api:
    """A client of the service."""

    def __init__(self, service: Stack) -> None:
        self.service = service

    def __call__(self, method: str, path: str, status: int, **more: Any) -> dict[str, Any]:
        answer = requests.request(method, self.service.url + path, timeout=30, **more)
        assert answer.status_code == status, answer.text
        return dict(answer.json()) if answer.content else {}

    def submit(self, status: int = 200, **more: str) -> dict[str, Any]:
        return self(
            "POST",
            "/v1/jobs",
            status,
            data={"operation": "detect", **more},
            files={"image": ASTRONAUT.read_bytes()},
            headers={"Prefer": "wait=30"},
        )

    def register(self, url: str, **more: Any) -> dict[str, Any]:
        return self("POST", "/v1/webhook-endpoints", 201, json={"url": url, **more})

    def settled(self, delivery_id: str, *statuses: str) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while True:
            found = self("GET", f"/v1/webhook-deliveries/{delivery_id}", 200)
            if found["status"] in statuses:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.05)


@pytest.fixture
def api(service: Stack) -> Iterator[Api]:
    caller = Api(service)
    yield caller
    for endpoint in caller("GET", "/v1/webhook-endpoints", 200)["endpoints"]:
        caller("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}", 204)


def test_a_jobs_own_url_gets_its_completion_and_can_verify_it(api: Api) -> None:
    heard: queue.Queue[Callback] = queue.Queue()
    with receiving(secret=SECRET, heard=heard.put) as url:
        job = api.submit(webhook=json.dumps({"url": f"{url}hook?token=abc", "headers": {"X-Case": "secret-7"}}))
        callback = heard.get(timeout=10)
    assert callback.problem is None
    assert callback.id == f"evt_{job['id'].removeprefix('job_')}"
    assert callback.body["type"] == "job.succeeded"
    assert callback.body["data"]["url"] == f"https://faces.example.org/v1/jobs/{job['id']}"
    assert set(callback.body["data"]) == {"id", "operation", "status", "finished_at", "error_code", "url", "full"}
    assert job["webhook"]["origin"] == url.rstrip("/")
    assert "token" not in json.dumps(job)
    (delivery,) = api("GET", job["urls"]["deliveries"], 200)["deliveries"]
    found = api.settled(delivery["id"], "delivered")
    (attempt,) = found["log"]
    assert (attempt["status"], attempt["error"]) == (204, None)
    assert attempt["request_headers"]["webhook-id"] == callback.id
    assert "secret-7" not in json.dumps(found)


def test_an_endpoint_gets_its_events_signed_with_its_own_secret(api: Api) -> None:
    heard: queue.Queue[Callback] = queue.Queue()
    port = free_port()
    endpoint = api.register(f"http://127.0.0.1:{port}/", events=["job.succeeded"], payload="full")
    assert endpoint["secret"].startswith("whsec_")
    assert "secret" not in api("GET", f"/v1/webhook-endpoints/{endpoint['id']}", 200)
    with receiving(secret=endpoint["secret"], port=port, heard=heard.put):
        job = api.submit()
        callback = heard.get(timeout=10)
    assert callback.problem is None
    data = callback.body["data"]
    read = api("GET", job["urls"]["self"], 200)
    assert (data["id"], data["full"], data["result"]["kind"]) == (job["id"], True, read["result"]["kind"])
    assert {name: data[name] for name in read if name not in {"urls", "result"}} == {
        name: read[name] for name in read if name not in {"urls", "result"}
    }


def test_a_test_event_arrives_and_a_rotated_secret_signs_with_the_old_one(api: Api) -> None:
    heard: queue.Queue[Callback] = queue.Queue()
    port = free_port()
    endpoint = api.register(f"http://127.0.0.1:{port}/")
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    turned = api("POST", f"{path}/rotate-secret", 200, json={"overlap_seconds": 600})
    assert turned["secret"] != endpoint["secret"]
    for secret in (endpoint["secret"], turned["secret"]):
        time.sleep(1.1)  # a cached endpoint is used for up to a second
        with receiving(secret=secret, port=port, heard=heard.put):
            delivery = api("POST", f"{path}/test", 202)
            callback = heard.get(timeout=10)
            assert (callback.problem, callback.body["type"]) == (None, "webhook.test")
            assert api.settled(delivery["id"], "delivered")["webhook_id"] == callback.id


def test_a_failed_delivery_is_retried_fails_and_can_be_resent_under_its_id(api: Api) -> None:
    heard: queue.Queue[Callback] = queue.Queue()
    port = free_port()
    endpoint = api.register(f"http://127.0.0.1:{port}/", events=["job.succeeded"])
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    job = api.submit()
    deadline = time.monotonic() + 10
    while not (listed := api("GET", f"{path}/deliveries", 200)["deliveries"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    failed = api.settled(listed[0]["id"], "failed")
    assert [attempt["error"] for attempt in failed["log"]] == ["no_connection"] * 4
    assert failed["subject"] == job["id"]
    with receiving(secret=endpoint["secret"], port=port, heard=heard.put):
        assert api("POST", f"{path}/resend", 202, json={"since": job["created_at"]}) == {"resent": 1}
        callback = heard.get(timeout=10)
        assert (callback.problem, callback.id) == (None, failed["webhook_id"])
        api.settled(failed["id"], "delivered")
        api("POST", f"/v1/webhook-deliveries/{failed['id']}/resend", 202)
        assert heard.get(timeout=10).id == failed["webhook_id"]


def test_a_batch_reports_its_completion_once(api: Api) -> None:
    heard: queue.Queue[Callback] = queue.Queue()
    with receiving(secret=SECRET, heard=heard.put) as url:
        batch = api(
            "POST",
            "/v1/batches",
            200,
            data={"operation": "detect", "webhook": json.dumps({"url": url})},
            files=[("images", ASTRONAUT.read_bytes()), ("images", b"no picture")],
            headers={"Prefer": "wait=30"},
        )
        callback = heard.get(timeout=20)
    assert callback.problem is None
    data = callback.body["data"]
    assert (callback.body["type"], data["id"], data["total"]) == ("batch.completed", batch["id"], 2)
    assert (data["counts"]["succeeded"], data["counts"]["failed"]) == (1, 1)
    assert len(api("GET", batch["urls"]["deliveries"], 200)["deliveries"]) == 1


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("https://169.254.169.254/latest/meta-data", "is an IP address in a blocked network"),
        ("https://[::1]:8443/", "is an IP address in a blocked network"),
        ("https://2130706433/", "number"),
        ("https://user:pass@example.org/", "user"),
        ("https://example.org:6/", "port"),
        ("ftp://example.org/", "https"),
    ],
)
def test_a_forbidden_url_is_refused_at_once(api: Api, url: str, field: str) -> None:
    problem = api("POST", "/v1/webhook-endpoints", 422, json={"url": url})
    assert problem["code"] == "webhook_url_refused"
    assert field in problem["errors"][0]["detail"]


def test_missing_records_are_not_found(api: Api) -> None:
    nothing = "we_" + "0" * 32
    assert api("GET", f"/v1/webhook-endpoints/{nothing}", 404)["code"] == "endpoint_not_found"
    assert api("GET", f"/v1/webhook-endpoints/{nothing}/deliveries", 404)["code"] == "endpoint_not_found"
    assert api("POST", f"/v1/webhook-endpoints/{nothing}/test", 404)["code"] == "endpoint_not_found"
    assert api("GET", f"/v1/webhook-deliveries/dlv_{'0' * 34}_{'0' * 16}", 404)["code"] == "delivery_not_found"
    assert api("GET", f"/v1/jobs/job_{'0' * 34}/deliveries", 404)["code"] == "job_not_found"
    assert api("GET", f"/v1/batches/batch_{'0' * 34}/deliveries", 404)["code"] == "batch_not_found"


def test_a_disabled_endpoint_gets_nothing_and_an_enabled_one_new_events(api: Api) -> None:
    heard: queue.Queue[Callback] = queue.Queue()
    port = free_port()
    endpoint = api.register(f"http://127.0.0.1:{port}/", events=["job.succeeded"])
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    with receiving(secret=endpoint["secret"], port=port, heard=heard.put):
        off = api("POST", f"{path}/disable", 200)
        assert (off["enabled"], off["disabled_reason"]) == (False, "by_request")
        api.submit()
        assert api("POST", f"{path}/enable", 200)["enabled"]
        job = api.submit()
        assert heard.get(timeout=10).body["data"]["id"] == job["id"]
        assert heard.empty()
