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

PHRASES: Final = {
    "manieth": r"\b(?:how|so)-manieth\b",
    "is no ": r"(?<!there )\bis no (?:HTTP|number|picture)\b",
    "one that would": r"\bone that would never fit\b",
    " to be ": r"\b(?:is|are|was|were) to be (?:as if|told|had)\b",
    " not taken": r"\b(?:is|are) not taken\b(?! for\b)",
    "no such": r"(?-i:\bThere (?:is|are) no such\b)",
    "ends here": r"\bends here and nowhere else\b",
    "who is told": r"\bwho is told\b",
    " told of": r"\b(?:is|are) told of\b",
    "its body": r"\bits body is there\b",
    "what cannot": r"\bwhat cannot be judged\b",
    "s sent": r"\bwhat (?:is|was) sent\b",
    "what c": r"\bwhat (?:came|comes) of\b",
    "an own": r"\ban own\b",
    "of before": r"\bof before\b",
    "in line": r"\bin line\b(?! with\b)",
    " none": r"(?<!there )(?-i:\b(?:is|are) none\b)(?! (?:left|of)\b)",
    "whoever": r"\bwhoever\b",
    "somebody": r"\bsomebody\b",
    "on record": r"(?<!not )\bon record\b",
    "roll call": r"\broll call\b",
    "as ever": r"\bas ever\b",
    "by itself f": r"\bby itself finds\b",
    "goes by itself": r"\bgoes by itself\b",
    "without a word": r"\bwithout a word\b",
    " true": r"\bcomes? true\b",
    "in the midst": r"\bin the midst\b",
}
"""Each phrase by a part of it, in lower case: a text without the part is not searched, which saves nine tenths."""
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
    lower = plain.lower()
    return [
        phrase for part, phrase in PHRASES.items() if part in lower and re.search(phrase, plain, flags=re.IGNORECASE)
    ]


def test_the_check_finds_a_phrase_across_a_line_break() -> None:
    assert phrases_in("There is\nno such endpoint") == [r"(?-i:\bThere (?:is|are) no such\b)"]
    assert phrases_in("Webhook endpoint not found") == []


def test_each_phrase_is_found_by_its_part() -> None:
    examples = (
        "the so-manieth", "it is no number", "one that would never fit", "they were to be told", "it is not taken",
        "There are no such jobs", "ends here and nowhere else", "who is told", "jobs are told of", "its body is there",
        "what cannot be judged", "what was sent", "what came of it", "has an own", "of before", "in line",
        "they are none", "Whoever", "somebody", "on record", "Roll Call", "as ever", "by itself finds",
        "goes by itself", "without a word", "come true", "in the midst",
    )  # fmt: skip
    assert [phrases_in(text) for text in examples] == [[phrase] for phrase in PHRASES.values()]


def test_the_check_reads_comments_strings_and_test_names_but_no_code() -> None:
    source = '# jobs of\n# before\nx = "wait " f"in {y} line"\ndef test_x_is_told_of(): return "a" in line'
    assert phrases_in(" ".join(python_texts(source))) == [r"\b(?:is|are) told of\b", r"\bof before\b"]


FILES: Final = tracked_files()


@pytest.mark.parametrize("folder", sorted({folder_of(path) for path in FILES}))
def test_texts_do_not_use_removed_phrases(folder: str) -> None:
    paths = [path for path in FILES if folder_of(path) == folder]
    assert {path: phrases for path in paths if (phrases := phrases_in(text_of(path)))} == {}
