"""Texts do not use phrases that were removed because they read as translated."""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SUFFIXES: Final = frozenset(
    (".conf", ".css", ".html", ".js", ".json", ".lua", ".md", ".mjs", ".py", ".sh", ".toml", ".ts", ".yaml", ".yml")
)
NAMES: Final = frozenset(("Caddyfile", "Makefile", "Dockerfile.api", "Dockerfile.proxy", "Dockerfile.worker"))
EXEMPT: Final = re.compile(r"bench/results/|tests/contract/test_phrases\.py$")
"""Dated results, which are never edited, and this file."""

PHRASES: Final = (
    r"\b(?:how|so)-manieth\b",
    r"(?<!there )\bis no (?:HTTP|number|picture)\b",
    r"\bone that would never fit\b",
    r"\b(?:is|are|was|were) to be (?:as if|told|had)\b",
    r"\b(?:is|are) not taken\b(?! for\b)",
    r"(?-i:\bThere (?:is|are) no such\b)",
    r"\bends here and nowhere else\b",
    r"\bwho is told\b",
    r"\b(?:is|are) told of\b",
    r"\bits body is there\b",
    r"\bwhat cannot be judged\b",
    r"\bwhat (?:is|was) sent\b",
    r"\bwhat (?:came|comes) of\b",
    r"\ban own\b",
    r"\bof before\b",
    r"\bin line\b(?! with\b)",
    r"(?<!there )(?-i:\b(?:is|are) none\b)(?! (?:left|of)\b)",
    r"\bwhoever\b",
    r"\bsomebody\b",
    r"(?<!not )\bon record\b",
    r"\broll call\b",
    r"\bas ever\b",
    r"\b(?:by itself finds|goes by itself)\b",
    r"\bwithout a word\b",
    r"\bcomes? true\b",
    r"\bin the midst\b",
)
TEXT_TOKENS: Final = frozenset(
    (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
)
LAYOUT_TOKENS: Final = frozenset((tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT))


def tracked_files() -> list[str]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [Path(name) for name in listing.splitlines() if not EXEMPT.match(name)]
    return [str(path) for path in paths if path.suffix in SUFFIXES or path.name in NAMES]


def folder_of(path: str) -> str:
    """The first two folders of a path: enough parts for several processes, and not a test for each file."""
    return "/".join(Path(path).parent.parts[:2]) or "."


def python_texts(source: str) -> Iterator[str]:
    """Yield comments, strings and the names of tests; code in between separates them."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in TEXT_TOKENS:
            yield re.sub(r"""^(?:#|\w{0,2}["']+)|["']+$""", "", token.string)
        elif token.type == tokenize.NAME and token.string.startswith("test_"):
            yield token.string.replace("_", " ")
        elif token.type not in LAYOUT_TOKENS:
            yield "|"


def text_of(path: str) -> str:
    source = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        return " ".join(python_texts(source))
    return re.sub(r"^\s*(?:#|--|//|\*)", "", source, flags=re.MULTILINE)


def phrases_in(text: str) -> list[str]:
    plain = " ".join(text.split())
    return [phrase for phrase in PHRASES if re.search(phrase, plain, flags=re.IGNORECASE)]


def test_the_check_finds_a_phrase_across_a_line_break() -> None:
    assert phrases_in("There is\nno such endpoint") == [r"(?-i:\bThere (?:is|are) no such\b)"]
    assert phrases_in("Webhook endpoint not found") == []


def test_the_check_reads_comments_strings_and_test_names_but_no_code() -> None:
    source = '# jobs of\n# before\nx = "wait " f"in {y} line"\ndef test_x_is_told_of(): return "a" in line'
    assert phrases_in(" ".join(python_texts(source))) == [r"\b(?:is|are) told of\b", r"\bof before\b"]


FILES: Final = tracked_files()


@pytest.mark.parametrize("folder", sorted({folder_of(path) for path in FILES}))
def test_texts_do_not_use_removed_phrases(folder: str) -> None:
    paths = [path for path in FILES if folder_of(path) == folder]
    assert {path: phrases for path in paths if (phrases := phrases_in(text_of(path)))} == {}
