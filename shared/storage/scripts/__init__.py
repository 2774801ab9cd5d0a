"""The steps of the ledger and of the roll call, one Lua script each."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any, cast

import redis


def register(client: redis.Redis, name: str) -> Callable[..., Any]:
    """The script of this name as a callable; the server keeps it and is sent it again where it has forgotten."""
    source = files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
    return cast("Callable[..., Any]", client.register_script(source))
