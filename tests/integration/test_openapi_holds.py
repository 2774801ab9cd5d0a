"""The running service matches the OpenAPI document: schemathesis sends what the document allows, and more."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.ledger.tenants.api_keys import ApiKeys
from shared.tenants import DEFAULT, ApiKey, Scope, new_key
from tests.stacks import FAKE, serving
from tools.setup import ROOT
from tools.stack import Stack

INTERPRETER = "SystemError: AST constructor recursion depth mismatch"
"""Some releases of CPython 3.11 occasionally raise it in the thread that reads a test tool's source (gh-106905)."""


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Stack]:
    """The whole service with the fake engine, so that the gateway is under test."""
    settings = {
        **FAKE,
        "VULTUS_QUEUE_LIMIT": "100000",  # a full queue is a documented answer, but not the subject of this test
        "VULTUS_WAIT_LIMIT": "1",
        "VULTUS_AUTH": "keys",  # and each call is also tried without one
        "VULTUS_RATE_LIMIT": "100000",
        "VULTUS_RATE_BURST": "100000",
    }
    with serving(tmp_path, settings) as running:
        yield running


@pytest.mark.timeout(2700)
def test_no_call_returns_an_undocumented_response(quick: Stack, tmp_path: Path) -> None:
    public, key, digest = new_key()
    with quick.ledger.client() as client:
        assert ApiKeys(client, shards=1).create(ApiKey(public, DEFAULT, frozenset(Scope), digest)) is not None
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={ROOT / 'tests' / 'integration' / 'schemathesis.toml'}",
        "run",
        f"{quick.url}/openapi.json",
        "--no-color",
        "--header",
        f"Authorization: Bearer {key}",
    ]
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, timeout=850, check=False, cwd=tmp_path)
        if INTERPRETER not in done.stdout:
            break
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert quick.gateway.exit_code() is None
    assert quick.workers[0].exit_code() is None
