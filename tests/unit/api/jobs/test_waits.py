"""Waiting for a job with `Prefer: wait` and `?wait=`."""

import time
from datetime import timedelta

import pytest

from shared.errors import ErrorCode
from shared.jobs import JobFailure
from tests.unit.api.conftest import Gateway, MakeGateway
from tests.unit.api.jobs.test_routes import named
from tests.unit.api.pictures import JPEG
from tests.unit.api.results import faces


def test_prefer_wait_returns_200_with_the_finished_job(gateway: Gateway) -> None:
    gateway.worker.script, gateway.worker.awaited = lambda _: faces(1), gateway.awaited
    answer = gateway.submit("detect", JPEG, prefer="wait=30")
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.headers["location"] == answer.json()["urls"]["self"]
    assert "retry-after" not in answer.headers


def test_prefer_wait_returns_200_for_a_failed_job(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: JobFailure(code=ErrorCode.MODEL_FAILURE, detail="Not finite.")
    answer = gateway.submit("detect", JPEG, prefer="wait=30")
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")


def test_prefer_wait_returns_202_when_time_is_up(gateway: Gateway) -> None:
    began = time.monotonic()
    answer = gateway.submit("detect", JPEG, prefer="wait=1")
    assert time.monotonic() - began > 0.9
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"


def test_prefer_wait_is_capped(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(wait_limit=timedelta(seconds=7))
    gateway.worker.script = lambda _: faces(1)
    answer = gateway.submit("detect", JPEG, prefer="wait=999999999")
    assert answer.headers["preference-applied"] == "wait=7"


def test_prefer_wait_zero_does_not_wait(gateway: Gateway) -> None:
    answer = gateway.submit("detect", JPEG, prefer="wait=0")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


def test_store_lost_during_the_wait_still_returns_202(gateway: Gateway) -> None:
    gateway.doorbell.answer = lambda: setattr(gateway.store, "away", True)
    answer = gateway.submit("detect", JPEG, prefer="wait=1")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


def test_long_poll_returns_when_the_job_ends(gateway: Gateway) -> None:
    gateway.worker.script, gateway.worker.awaited = lambda _: faces(1), gateway.awaited
    address = gateway.submit("detect", JPEG).headers["location"]
    answer = gateway.get(f"{address}?wait=30")
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=30"


def test_long_poll_returns_the_current_job_when_time_is_up(gateway: Gateway) -> None:
    answer = gateway.get(gateway.submit("detect", JPEG).headers["location"], params={"wait": 1})
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert answer.headers["retry-after"] == "1"


def test_a_plain_read_does_not_wait(gateway: Gateway) -> None:
    answer = gateway.get(gateway.submit("detect", JPEG).headers["location"])
    assert answer.json()["status"] == "queued"
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("wait", ["-1", "soon", "1.5"])
def test_a_wait_that_is_not_a_number_of_seconds_is_named(gateway: Gateway, wait: str) -> None:
    assert named(gateway.get("/v1/jobs/job_00" + "0" * 32, params={"wait": wait})) == ["wait"]
