"""A real courier whose clock is off by `ODD_CLOCK` seconds, and whose names resolve as `ODD_NAMES` says."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from shared.net import pinned
from worker.courier import __main__ as entry
from worker.courier import courier

_true = time.time
_names: dict[str, list[str]] = json.loads(os.environ.get("ODD_NAMES", "{}"))
_resolve = pinned.look_up


async def look_up(host: str, port: int) -> Sequence[str]:
    """Resolve the test's names; all others really."""
    if host == "hangs.example":
        await asyncio.sleep(60)
    return _names[host] if host in _names else await _resolve(host, port)


class NamedCourier(courier.Courier):
    """Resolves addresses through the test."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, resolve=look_up, **named)


if __name__ == "__main__":
    time.time = lambda: _true() + float(os.environ.get("ODD_CLOCK", "0"))
    vars(entry)["Courier"] = NamedCourier
    entry.main()
