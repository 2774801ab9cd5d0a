"""The agreed OpenAPI document; `python -m tests.contract.snapshot` updates it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from api.app import create_app
from api.settings.api import ApiSettings

SNAPSHOT = Path(__file__).with_name("openapi.json")


@cache
def agreed() -> dict[str, Any]:
    """The agreed document; a test compares it with `served`, so others need not build that."""
    document: dict[str, Any] = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return document


def served() -> dict[str, Any]:
    """The document that this code serves, as parsed JSON."""
    made: dict[str, Any] = json.loads(json.dumps(create_app(ApiSettings()).openapi()))
    return made


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(served(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
