"""Calls over HTTP: keys, classic calls, jobs, batches."""

import base64

import pytest
import requests

from tests.containers.compose import ComposeStack, wait_for
from tests.pictures import encoded, one_face

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

FACE = encoded(one_face())


def test_a_call_without_a_key_is_refused(stack: ComposeStack) -> None:
    response = requests.get(f"{stack.url}/v1/jobs", timeout=10)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


def test_a_key_of_the_documented_command_opens_what_its_scopes_say(stack: ComposeStack) -> None:
    assert stack.call("GET", "/v1/jobs").status_code == 200
    assert stack.call("GET", "/v1/admin/tenants").status_code == 403


def test_health_names_the_workers(stack: ComposeStack) -> None:
    response = stack.call("GET", "/health")
    assert response.status_code == 200, response.text


def test_a_job_succeeds(stack: ComposeStack) -> None:
    job_id = stack.submit(FACE)
    assert wait_for(lambda: stack.status(job_id) == "succeeded", seconds=30)
    assert len(stack.job(job_id)["result"]["faces"]) == 1


def test_a_submission_can_wait_for_its_job(stack: ComposeStack) -> None:
    response = stack.call(
        "POST", "/v1/jobs", data={"operation": "detect"}, files={"image": FACE}, headers={"Prefer": "wait=20"}
    )
    assert (response.status_code, response.json()["status"]) == (200, "succeeded")


@pytest.mark.parametrize("path", ["/detect", "/extract-embedding", "/liveness", "/register"])
def test_a_classic_call_answers(stack: ComposeStack, path: str) -> None:
    response = stack.call("POST", path, files={"file": FACE})
    assert response.status_code == 200, response.text


def test_a_batch_completes(stack: ComposeStack) -> None:
    items = [{"image": {"base64": base64.b64encode(FACE).decode()}} for _ in range(5)]
    response = stack.call("POST", "/v1/batches", json={"operation": "detect", "items": items})
    assert response.status_code in {200, 202}, response.text  # 200 if the workers were faster than the response
    path = f"/v1/batches/{response.json()['id']}"
    assert wait_for(lambda: bool(stack.call("GET", path).json()["status"] == "completed"), seconds=30)
