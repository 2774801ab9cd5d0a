"""Documents do not use phrases that were removed because they read as translated."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "deploy")
"""Tracked files and folders that are checked."""

PHRASES = (
    r"how-manieth",
    r"is no HTTP",
    r"one that would never fit",
    r"is to be as if",
    r"(?:is|are) to be told",
    r"(?:is|are) not taken\b",
    r"there is no such",
    r"ends here and nowhere else",
    r"who is told",
    r"its body is there",
    r"what cannot be judged",
    r"\ban own\b",
    r"by itself finds",
    r"\b(?:jobs|secret|records) of before\b",
)


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--", *DOCUMENTS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [path for name in listing.splitlines() if (path := ROOT / name).suffix in {".md", ".yml", ".yaml", ".conf"}]


def phrases_in(text: str) -> list[str]:
    plain = " ".join(text.split())
    return [phrase for phrase in PHRASES if re.search(phrase, plain, flags=re.IGNORECASE)]


def test_the_check_finds_a_phrase_across_a_line_break() -> None:
    assert phrases_in("There is\nno such endpoint") == [r"there is no such"]
    assert phrases_in("Webhook endpoint not found") == []


@pytest.mark.parametrize("path", tracked_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_do_not_use_removed_phrases(path: Path) -> None:
    assert phrases_in(path.read_text(encoding="utf-8")) == []
