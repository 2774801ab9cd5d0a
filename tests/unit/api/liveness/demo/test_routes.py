"""`/demo/liveness`: off by default, no inline script, and text for every state."""

import re

import pytest

from api.liveness.challenge import Hint
from api.liveness.demo.routes import FILES
from shared.liveness_sessions import Reason, SessionStatus, Step
from tests.unit.api.conftest import Gateway, MakeGateway, problem

PATHS = {"/demo/liveness": "text/html", "/demo/liveness.js": "text/javascript", "/demo/liveness.css": "text/css"}


@pytest.mark.parametrize("path", PATHS)
def test_demo_is_off_by_default(gateway: Gateway, path: str) -> None:
    problem(gateway.get(path), 404, "not_found")


@pytest.mark.parametrize("path", PATHS)
def test_files_are_served_with_a_strict_content_policy(make_gateway: MakeGateway, path: str) -> None:
    answer = make_gateway(demo=True).get(path)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, PATHS[path])
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "camera=(self)" in answer.headers["permissions-policy"]


def test_page_has_no_inline_code_and_loads_no_other_hosts() -> None:
    page = (FILES / "liveness.html").read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]
    assert not re.search(r"<style| style=| on[a-z]+=", page)
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) == {"/demo/liveness.css", "/demo/liveness.js", "data:,"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("STEPS", set(Step)),
        ("HINTS", set(Hint)),
        ("REASONS", set(Reason)),
        ("OUTCOMES", set(SessionStatus) - {SessionStatus.RUNNING}),
    ],
)
def test_page_has_text_for_every_state(table: str, words: set[str]) -> None:
    script = (FILES / "liveness.js").read_text(encoding="utf-8")
    found = re.search(rf"const {table} = {{(.*?)}};", script, flags=re.DOTALL)
    assert found is not None
    assert set(re.findall(r"(\w+): \"", found[1])) == words
