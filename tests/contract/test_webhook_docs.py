"""The receiver in docs/webhooks.md accepts what we sign, and nothing else."""

import asyncio
import re
import textwrap
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from shared.webhooks.signing import new_secret, sign
from worker.courier.schedule import JITTER
from worker.courier.settings import RETRIES

TEXT = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
SECRET = new_secret()
BODY = b'{"type":"job.succeeded","timestamp":"2026-09-21T14:13:20.500Z","data":{"id":"job_1"}}'


@pytest.fixture
def receiver() -> tuple[FastAPI, dict[str, Any]]:
    """The document's receiver, running, and the events that it remembers."""
    (block,) = re.findall(r"^ {3}```python\n(.*?)^ {3}```", TEXT, flags=re.MULTILINE | re.DOTALL)
    kept: dict[str, Any] = {}
    names: dict[str, Any] = {"remember_once": kept.setdefault}
    exec(textwrap.dedent(block).replace("whsec_...", SECRET), names)  # noqa: S102 - our own document
    return names["app"], kept


def post(app: FastAPI, *, secret: str = SECRET, body: bytes = BODY, sent: bytes | None = None) -> httpx.Response:
    at = int(time.time())
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at),
        "webhook-signature": sign("evt_1", at, body, [secret]),
    }

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://partner") as client:
            return await client.post("/vultus", content=body if sent is None else sent, headers=headers)

    return asyncio.run(send())


def test_it_accepts_what_we_sign_and_remembers_a_repeat_once(receiver: tuple[FastAPI, dict[str, Any]]) -> None:
    app, kept = receiver
    assert [post(app).status_code for _ in range(2)] == [204, 204]
    assert list(kept) == ["evt_1"]
    assert kept["evt_1"]["data"]["id"] == "job_1"


@pytest.mark.parametrize(
    "wrong", [{"secret": new_secret()}, {"sent": BODY + b" "}, {"sent": b"\xff\xfe"}], ids=["secret", "body", "bytes"]
)
def test_it_accepts_nothing_else(receiver: tuple[FastAPI, dict[str, Any]], wrong: dict[str, Any]) -> None:
    app, kept = receiver
    assert post(app, **wrong).status_code == 400
    assert post(app, secret=new_secret(), body=b"").status_code == 400
    assert kept == {}


def test_the_promised_schedule_is_the_default() -> None:
    promised = re.search(r"come after about (.*?), each up to a fifth later", " ".join(TEXT.split()))
    assert promised
    units = {"s": 1, "min": 60, "h": 3600}
    documented = re.findall(r"(\d+) (s|min|h)\b", promised[1])
    assert tuple(int(number) * units[unit] for number, unit in documented) == RETRIES
    assert JITTER == 0.2
