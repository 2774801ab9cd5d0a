"""The library that partners in JavaScript use verifies our signatures: the real package, in the real node."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import pytest

from shared.webhooks.signing import new_secret, sign
from tests.integration.courier_site import SECRET, site
from tests.integration.partner import Partner

PACKAGE: Final = "standardwebhooks@1.1.1"
SCRIPT: Final = Path(__file__).with_name("verify.mjs")
BODY: Final = '{"type":"job.succeeded","data":{"name":"Zoë 顔 \\u0000"}}'.encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, installed with the ordinary client and its cache."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed, so nothing of JavaScript is tested")
    made = tmp_path_factory.mktemp("javascript")
    (made / "package.json").write_text('{"private": true}', encoding="utf-8")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", PACKAGE]
    try:
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not install {PACKAGE} within a minute")
    if done.returncode != 0:
        pytest.skip(f"npm could not install {PACKAGE}: {done.stderr.strip()[-300:]}")
    shutil.copy(SCRIPT, made)
    return made


def verified(folder: Path, *cases: tuple[str, dict[str, str], bytes]) -> list[dict[str, Any]]:
    messages = [
        {"secret": secret, "headers": headers, "body": base64.b64encode(body).decode()}
        for secret, headers, body in cases
    ]
    done = subprocess.run(
        ["node", SCRIPT.name],
        cwd=folder,
        input=json.dumps(messages),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return list(json.loads(done.stdout))


def headers(*secrets: str, body: bytes = BODY, late: float = 0) -> dict[str, str]:
    at = int(time.time() - late)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at),
        "webhook-signature": sign("evt_1", at, body, secrets),
    }


def test_javascript_verifies_our_signatures_and_nothing_else(folder: Path) -> None:
    new, old = new_secret(), new_secret()
    good = headers(new, old)
    found = verified(
        folder,
        (new, good, BODY),
        (old, good, BODY),
        (new_secret(), good, BODY),
        (new, good, BODY + b" "),
        (new, {**good, "webhook-id": "evt_2"}, BODY),
        (new, {**good, "webhook-signature": "v1"}, BODY),
        (new, headers(new, late=600), BODY),
        (new, headers(new, late=-600), BODY),
    )
    assert found[:2] == [{"verified": True, "type": "job.succeeded"}] * 2
    assert found[2:] == [{"verified": False, "why": "WebhookVerificationError"}] * 6


def test_javascript_verifies_what_a_courier_sends(folder: Path, tmp_path: Path) -> None:
    partner = Partner()
    with site(tmp_path) as running:
        for form in ("thin", "full"):
            running.settled(running.end(partner.url(), payload=form))
    found = verified(folder, *((SECRET, request.headers, request.body) for request in partner.requests))
    assert found == [{"verified": True, "type": "job.succeeded"}] * 2
    partner.close()
