"""Every component is recorded and audited if a service is reachable, and no secret is in the tree."""

import json
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.containers import locked
from tools.audit import LOCKS, audit
from tools.sbom import write
from tools.setup import ROOT

LOCKED: Final = sorted((ROOT / "requirements").glob("*.txt"))
BILLED: Final = ("api", "worker-gpu")
"""Locks of two images; writing the bill of each lock takes seconds, and the rest differs in a few packages."""
SECRETS: Final = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}"),
    "cloud key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "token of a code host": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|glpat-[A-Za-z0-9_-]{20})\b"),
    "token of a chat": re.compile(r"\bxox[abpr]-[A-Za-z0-9-]{20,}"),
    "password in an address": re.compile(
        r"\b(?:rediss?|https?)://[^\s:@/<>{}]*:(?!password@|hunter2@|\{|\$|secret@|other@)[^\s@/<>{}]{8,}@"
    ),
}


@pytest.mark.parametrize("name", BILLED)
def test_the_bill_of_materials_names_every_locked_package_with_its_hashes(name: str, tmp_path: Path) -> None:
    lock = ROOT / "requirements" / f"{name}.txt"
    bill = json.loads(write(lock, tmp_path).read_text(encoding="utf-8"))
    parts = {part["name"].lower(): part for part in bill["components"]}
    assert set(parts) == {re.sub(r"\[.*\]", "", name) for name in locked(lock.name)}
    assert all(part["version"] and part["purl"] for part in parts.values())
    assert all(reference["hashes"] for part in parts.values() for reference in part["externalReferences"])


def test_the_two_audited_sets_hold_every_package() -> None:
    audited = set().union(*(locked(name) for name in LOCKS))
    assert set().union(*(locked(lock.name) for lock in LOCKED)) <= audited


@pytest.mark.parametrize(
    ("status", "told", "passed"),
    [
        (0, "No known vulnerabilities found", True),
        (1, "Found 1 known vulnerability in 1 package", False),
        (1, "requests.exceptions.ConnectionError: Max retries exceeded", None),
        (1, "ERROR: the requirements cannot be read", False),
    ],
)
def test_an_unreachable_audit_service_is_not_reported_as_a_vulnerability(
    status: int, told: str, passed: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, status, stdout="", stderr=told)

    monkeypatch.setattr("tools.audit.subprocess.run", run)
    found = audit(ROOT / "requirements" / "api.txt")
    assert found.passed is passed
    assert ("nothing was audited" in found.report) is (passed is None)
    assert found.packages == len(locked("api.txt"))


def test_no_secret_is_in_the_tree() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = [
        (name, kind)
        for name in tracked
        if (ROOT / name).is_file()
        for text in [(ROOT / name).read_text(encoding="utf-8", errors="ignore")]
        for kind, pattern in SECRETS.items()
        if pattern.search(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("private key", "-----BEGIN EC " + "PRIVATE KEY-----\n" + "A" * 64),
        ("cloud key", "AKIA" + "B" * 16),
        ("token of a code host", "ghp_" + "c" * 36),
        ("token of a chat", "xoxb-" + "1" * 24),
        ("password in an address", "redis://:" + "d" * 16 + "@host:6379/0"),
    ],
)
def test_a_secret_would_be_detected(kind: str, text: str) -> None:
    assert SECRETS[kind].search(text)
