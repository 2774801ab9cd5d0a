"""The agreed OpenAPI document; `python -m tests.contract.snapshot` updates it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from api.app import create_app
from api.settings.api import ApiSettings

SNAPSHOT = Path(__file__).with_name("openapi.json")


@cache
def document() -> dict[str, Any]:
    """The document that this code serves, as parsed JSON."""
    made: dict[str, Any] = json.loads(json.dumps(create_app(ApiSettings()).openapi()))
    return made


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(document(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
