"""Webhooks to a receiver in another container, which only `VULTUS_WEBHOOK_ALLOW_PRIVATE` opens."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.containers.compose import PROJECT, ComposeStack, wait_for
from tests.pictures import encoded, one_face

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

RECEIVER = """
import base64, http.server, json

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        print(json.dumps({"headers": headers, "body": base64.b64encode(body).decode()}), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", 9000), Handler).serve_forever()
"""


@pytest.fixture
def receiver(stack: ComposeStack) -> Iterator[str]:
    """A container on the network `front` that prints what it receives; its id."""
    container = stack.docker(
        "run", "--detach", "--network", f"{PROJECT}_front", "--network-alias", "receiver", "vultus-gateway:local",
        "python", "-c", RECEIVER,
    )  # fmt: skip
    yield container
    stack.docker("rm", "--force", container)


def received(stack: ComposeStack, receiver: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack.docker("logs", receiver).splitlines()]


def test_a_job_is_announced_to_its_own_receiver(stack: ComposeStack, receiver: str) -> None:
    job_id = stack.submit(encoded(one_face()), webhook=json.dumps({"url": "http://receiver:9000/done"}))
    assert wait_for(lambda: bool(received(stack, receiver)), seconds=40)
    (request,) = received(stack, receiver)
    body = base64.b64decode(request["body"])
    Webhook(stack.secret).verify(body, request["headers"])
    event = json.loads(body)
    assert (event["type"], event["data"]["id"]) == ("job.succeeded", job_id)


def test_a_receiver_outside_the_allowed_networks_is_not_called(stack: ComposeStack, receiver: str) -> None:
    try:
        stack.compose(
            "up", "--detach", "--no-build", "--no-deps", "--wait", "courier",
            environment={"VULTUS_WEBHOOK_ALLOW_PRIVATE": "192.168.255.0/30"},
        )  # fmt: skip
        job_id = stack.submit(encoded(one_face()), webhook=json.dumps({"url": "http://receiver:9000/never"}))
        assert wait_for(lambda: stack.status(job_id) == "succeeded", seconds=30)
        assert wait_for(lambda: "address_refused" in courier_log(stack), seconds=30), courier_log(stack)[-2000:]
        assert received(stack, receiver) == []
    finally:
        stack.compose("up", "--detach", "--no-build", "--no-deps", "--wait", "courier")


def courier_log(stack: ComposeStack) -> str:
    return stack.compose("logs", "--no-color", "--no-log-prefix", "courier")
