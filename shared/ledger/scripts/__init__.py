"""Loads the Lua scripts. Each script is beside its store; functions shared by several scripts are in this folder."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import redis
from redis import exceptions


def register(client: redis.Redis, name: str, *, beside: str, parts: Sequence[str] = ("common",)) -> Callable[..., Any]:
    """Return a script as a callable. Servers cache it; it is sent again if a server does not have it.

    Args:
        client: the client that runs it.
        name: file name without extension.
        beside: package that contains the file; a store passes its own `__package__`.
        parts: files of this folder to prepend. If the first line of the script sets flags, it stays first.
    """
    source = _read(beside, name)
    flags, newline, rest = source.partition("\n") if source.startswith("#!") else ("", "", source)
    source = flags + newline + "".join(_read(__name__, part) for part in parts) + rest
    digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def run(keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        try:
            return client.evalsha(digest, len(keys), *keys, *args)
        except exceptions.NoScriptError:
            # The driver would load it into every primary of a cluster, one of which may be unavailable.
            return client.eval(source, len(keys), *keys, *args)

    return run


@cache
def _read(package: str, name: str) -> str:
    return files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8")
