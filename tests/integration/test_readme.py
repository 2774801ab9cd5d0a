"""The programs and commands in README.md and docs/clients.md work as printed, against the real service."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.photos import ASTRONAUT
from tools.setup import ROOT
from tools.stack import Stack

README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIENTS = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")

OF_JOBS = ["polled: succeeded 1", "waited: succeeded 512", "heard: live"]


def block(heading: str) -> str:
    found = re.search(rf"### {heading}\n\n```\w+\n(.*?)```", CLIENTS, flags=re.DOTALL)
    assert found, f"docs/clients.md has no code under {heading}"
    return found[1]


def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.fail("node is not installed; the README names it among what is needed")
    return found


def run(command: list[str], stack: Stack) -> str:
    environment = {**os.environ, "BASE": stack.url, "PHOTO": str(ASTRONAUT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_classic_python_client_works(stack: Stack, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(block("A classic client in Python"), encoding="utf-8")
    assert run([sys.executable, str(script)], stack).splitlines() == [
        "faces: 1",
        "numbers in the embedding: 512",
        "similarity to itself: 1.0 match: True",
    ]


def test_the_classic_node_client_works(stack: Stack, tmp_path: Path) -> None:
    script = tmp_path / "client.cjs"
    script.write_text(block("A classic client in Node"), encoding="utf-8")
    assert run([node(), str(script)], stack).splitlines() == [
        "health: healthy",
        "faces: 1",
        "verified: true",
        "live: true",
        "registered: true",
        "similarity to itself: 1",
    ]


def test_the_python_client_of_jobs_works(stack: Stack, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(block("A job client in Python"), encoding="utf-8")
    assert run([sys.executable, str(script)], stack).splitlines() == OF_JOBS


def test_the_javascript_client_of_jobs_works(stack: Stack, tmp_path: Path) -> None:
    script = tmp_path / "client.cjs"
    script.write_text(block("A job client in JavaScript"), encoding="utf-8")
    assert run([node(), str(script)], stack).splitlines() == OF_JOBS


@pytest.mark.parametrize(("text", "count"), [(README, 5), (CLIENTS, 7)], ids=["README", "clients"])
def test_every_curl_names_an_existing_route(stack: Stack, text: str, count: int) -> None:
    calls = re.findall(r"^curl (.+)$", text, flags=re.MULTILINE)
    job_id = ""
    for call in calls:
        line = call.replace("http://127.0.0.1:8000", stack.url).replace("@photo.jpg", f"@{ASTRONAUT}")
        line = line.replace("job_00...", job_id)
        out = run(["curl", "-sS", "-w", "\n%{http_code}", *shlex.split(line)], stack)
        body, code = out.rsplit("\n", 1)
        assert code in {"200", "201", "202"}, (call, body)
        if code == "201":
            requests.delete(f"{stack.url}/v1/webhook-endpoints/{json.loads(body)['id']}", timeout=10).raise_for_status()
        found = re.search(r"job_[0-9a-f]{34}", body)
        job_id = found[0] if found else job_id
    assert len(calls) == count
