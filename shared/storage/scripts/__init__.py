"""The steps of the ledger and of the roll call, one Lua script each."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any, cast

import redis


def register(client: redis.Redis, name: str, *, common: bool = True) -> Callable[..., Any]:
    """The script of this name as a callable; the server keeps it and is sent it again where it has forgotten.

    Args:
        client: where it will run.
        name: its file, without the ending.
        common: whether `common.lua` goes before it; its first line, where it sets flags, stays first.
    """
    source = _read(name)
    if common:
        flags, line, rest = source.partition("\n") if source.startswith("#!") else ("", "", source)
        source = flags + line + _read("common") + rest
    return cast("Callable[..., Any]", client.register_script(source))


def _read(name: str) -> str:
    return files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
