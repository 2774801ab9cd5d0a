"""A whole local stack for the duration of a test or a module: stores, gateway, worker, courier."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tools.ports import free_port
from tools.stack import Stack

FAKE: Final[Mapping[str, str]] = {"VULTUS_ENGINE": "fake"}
"""No models: fast and deterministic."""


def _silent(_name: str, _line: str) -> None:
    pass


@contextmanager
def serving(
    directory: Path, settings: Mapping[str, str], *, sink: Callable[[str, str], None] = _silent
) -> Iterator[Stack]:
    """A ready stack; the sink receives the output of its processes, by name."""
    with Stack(data=directory, port=free_port(), settings=dict(settings), sink=sink) as stack:
        stack.wait_ready(60)
        yield stack
