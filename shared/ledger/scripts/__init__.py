"""Load the Lua scripts: each step lies beside its store, and what several steps share lies in this folder."""

import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import redis
from redis import exceptions


def register(client: redis.Redis, name: str, *, beside: str, parts: Sequence[str] = ("common",)) -> Callable[..., Any]:
    """The script of this name as a callable; a server keeps it, and is sent it again where it has forgotten.

    Args:
        client: where it will run.
        name: its file, without the ending.
        beside: the package that has the file: a store passes its own `__package__`.
        parts: files of this folder that go before it; its first line, where it sets flags, stays first.
    """
    source = _read(beside, name)
    flags, line, rest = source.partition("\n") if source.startswith("#!") else ("", "", source)
    source = flags + line + "".join(_read(__name__, part) for part in parts) + rest
    digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def run(keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        try:
            return client.evalsha(digest, len(keys), *keys, *args)
        except exceptions.NoScriptError:
            # Not the driver's own way, which loads it into every primary of a cluster: one of them may be away.
            return client.eval(source, len(keys), *keys, *args)

    return run


def _read(package: str, name: str) -> str:
    return files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8")
