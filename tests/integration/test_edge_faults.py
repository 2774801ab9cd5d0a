"""The running service when clients or the gateway itself break off, and every error as a problem document."""

import itertools
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.breaking import breakable, picture, until
from tests.integration.test_faults import kill, readable, supervised
from tools.ports import LOOPBACK
from tools.stack import Stack

PROBLEM = {"type", "title", "status", "detail", "code", "request_id"}


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def own(tmp_path: Path, log: list[str]) -> Iterator[Stack]:
    with breakable(tmp_path, log=log) as stack:
        yield stack


def submit(stack: Stack, key: str, **more: str) -> requests.Response:
    return requests.post(
        f"{stack.url}/v1/jobs",
        data={"operation": "detect"},
        files={"image": picture()},
        headers={"Idempotency-Key": key, **more},
        timeout=30,
    )


def kept(stack: Stack) -> list[dict[str, Any]]:
    return list(requests.get(f"{stack.url}/v1/jobs?limit=100", timeout=10).json()["jobs"])


def test_a_gateway_killed_before_its_answer_leaves_a_key_to_the_one_job(own: Stack) -> None:
    own.workers[0].signal(signal.SIGSTOP)
    heard: list[object] = []

    def ask() -> None:
        try:
            heard.append(submit(own, "lost", Prefer="wait=30"))
        except requests.RequestException as error:
            heard.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: len(kept(own)) == 1)
    kill(own.gateway)
    asking.join()
    assert isinstance(heard[0], requests.RequestException)
    own.workers[0].signal(signal.SIGCONT)
    supervised(own, lambda: own.health() is not None)
    again = submit(own, "lost", Prefer="wait=30")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json()["status"] == "succeeded"
    assert [job["id"] for job in kept(own)] == [again.json()["id"]]


def test_an_aborted_upload_creates_no_job_or_error_and_frees_its_key(own: Stack, log: list[str]) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="operation"\r\n\r\ndetect\r\n--b\r\nContent-Disp'
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Idempotency-Key: torn\r\nContent-Length: {len(body) + 5000}\r\n\r\n"
    )
    with socket.create_connection((LOOPBACK, own.port), timeout=10) as line:
        line.sendall(head.encode() + body)
        time.sleep(0.5)
        assert submit(own, "torn").status_code == 409
    until(lambda: submit(own, "torn").status_code in {200, 202})
    assert len(kept(own)) == 1
    readable(log)


def test_a_body_that_ends_before_its_last_part_is_a_problem(own: Stack) -> None:
    whole = requests.Request(
        "POST", f"{own.url}/v1/jobs", data={"operation": "detect"}, files={"image": picture()}
    ).prepare()
    assert isinstance(whole.body, bytes)
    for cut in (1, 30, len(whole.body) // 2, len(whole.body) - 8):
        answer = requests.post(
            whole.url or "",
            data=whole.body[:cut],
            headers={"Content-Type": whole.headers["Content-Type"]},
            timeout=10,
        )
        assert 400 <= answer.status_code < 500
        is_problem(answer)
    assert kept(own) == []


def is_problem(answer: requests.Response) -> None:
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) >= PROBLEM
    assert problem["status"] == answer.status_code


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code"),
    [
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("GET", "/v1/jobs/job_00", {}, 404, "job_not_found"),
        ("PUT", "/v1/jobs", {}, 405, "method_not_allowed"),
        ("POST", "/v1/jobs", {"data": b"x" * 40_000_000}, 413, "request_too_large"),
        ("POST", "/v1/jobs", {"data": "plain"}, 415, "unsupported_media_type"),
        ("POST", "/v1/jobs", {"json": {"operation": "paint"}}, 422, "invalid_request"),
        ("GET", "/v1/jobs?limit=none", {}, 422, "invalid_request"),
    ],
)
def test_every_refusal_of_the_running_service_is_a_problem(
    stack: Stack, method: str, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    answer = requests.request(method, stack.url + path, timeout=30, **more)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    is_problem(answer)


def test_an_idle_stream_outlives_the_idle_timeout_of_proxies(own: Stack) -> None:
    """Proxies close a connection that is silent for 60 s; ours sends a comment every 15, even while the worker is
    frozen."""
    own.workers[0].signal(signal.SIGSTOP)
    job = submit(own, "slow").json()
    moments: list[float] = []
    words: list[str] = []
    with requests.get(own.url + job["urls"]["events"], stream=True, timeout=25) as answer:
        begin = time.monotonic()
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            if line:
                moments.append(time.monotonic() - begin)
                words.append(line)
            if line.startswith(":"):
                own.workers[0].signal(signal.SIGCONT)
            if line == "event: end":
                break
    assert words.count("event: queued") == words.count("event: running") == words.count("event: succeeded") == 1
    assert any(word.startswith(":") for word in words)
    assert max(later - earlier for earlier, later in itertools.pairwise(moments)) < 20
    reached = [json.loads(word.removeprefix("data: ")) for word in words if word.startswith("data: ")]
    assert len(reached) == 3
