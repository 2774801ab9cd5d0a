"""The whole service, with real models, survives the hostile corpus: no 5xx, crash, second attempt or kept memory."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
import requests

from tests.corpus.cases import TAKEN, Case
from tests.corpus.damage import changes
from tests.corpus.exchanges import Exchange, exchanges
from tests.corpus.images import crafted
from tests.pictures import encoded, one_face
from tests.security.speaking import ask
from tests.stacks import serving
from tools.setup import models_dir
from tools.stack import Stack

PICTURE: Final = encoded(one_face())
GATEWAY_MB: Final = 400
"""Peak memory: about three times the memory at rest."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    lines: list[str] = []
    settings = {"VULTUS_PACK": "compact", "VULTUS_MODELS_DIR": str(models_dir()), "VULTUS_HSTS_MAX_AGE": "60"}
    with serving(
        tmp_path_factory.mktemp("hostile"), settings, sink=lambda name, line: lines.append(f"{name} | {line}")
    ) as running:
        yield running
        assert [line for line in lines if "Traceback" in line or "request.failed" in line] == []
        assert all(service.exit_code() is None for service in running.services)


def peak_mb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def outcome(stack: Stack, data: bytes) -> str:
    answer = requests.post(
        f"{stack.url}/v1/jobs",
        data={"operation": "detect"},
        files={"image": ("../../x.jpg", data)},
        headers={"Prefer": "wait=60"},
        timeout=400,
    )
    assert answer.status_code < 500, answer.text
    body = answer.json()
    if "code" in body:
        return str(body["code"])
    assert answer.status_code == 200, body
    return TAKEN if body["status"] == "succeeded" else str(body["error"]["code"])


def test_every_hostile_image_ends_in_a_result_or_a_clear_code(
    stack: Stack, record_property: Callable[[str, object], None]
) -> None:
    cases = [*crafted(), *changes(count=60, seed=2)]
    record_property("cases", len(cases))

    def wrong(case: Case) -> str | None:
        ended = outcome(stack, case.make())
        return None if ended in case.outcomes else f"{case.name}: {ended}"

    with ThreadPoolExecutor(2) as pool:
        assert [name for name in pool.map(wrong, cases) if name] == []
    assert outcome(stack, PICTURE) == TAKEN
    assert stack.workers[0].failures == 0


def test_every_hostile_request_ends_in_a_success_or_a_problem(
    stack: Stack, record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", sum(1 for _ in exchanges(PICTURE)))

    def wrong(exchange: Exchange) -> str | None:
        try:
            answer = ask(stack.port, exchange.sent)
            assert answer.status in exchange.statuses, answer
            assert not {"x-injected", "set-cookie"} & set(answer.headers)
            if answer.status >= 400:
                assert "Traceback" not in str(answer.problem)
                assert "passwd" not in answer.problem["detail"]
        except (AssertionError, KeyError, OSError) as found:
            return f"{exchange.name}: {str(found)[:300]}"
        return None

    with ThreadPoolExecutor(2) as pool:
        findings = [line for line in pool.map(wrong, exchanges(PICTURE)) if line]
    assert not findings, "\n".join(findings)


def test_the_client_scheme_is_not_trusted_unless_configured(stack: Stack) -> None:
    answer = requests.get(f"{stack.url}/livez", headers={"X-Forwarded-Proto": "https"}, timeout=5)
    assert "strict-transport-security" not in answer.headers


def test_the_gateway_still_answers_and_kept_no_memory(stack: Stack) -> None:
    began = time.monotonic()
    assert requests.get(f"{stack.url}/livez", timeout=5).status_code == 200
    assert time.monotonic() - began < 5
    assert peak_mb(stack.gateway.pid) < GATEWAY_MB
