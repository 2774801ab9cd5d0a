"""Kills a gateway inside one step of its work when it reaches a step for which a file exists in a folder."""

import os
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

from shared.ledger.batches.store import Batches
from shared.ledger.jobs.fetches import Fetches
from shared.ledger.jobs.store import Ledger
from shared.ledger.sessions.store import Sessions
from shared.ledger.tenant_data import TenantData
from shared.ledger.tenants.api_keys import ApiKeys

STEPS: Final[dict[str, tuple[type, str]]] = {
    "fetch": (Fetches, "supply"),
    "frame": (Sessions, "take"),
    "retry": (Ledger, "retry"),
    "erasure": (TenantData, "_drop_outbox_rows"),  # the jobs of the first shard are gone, the rest is there
    "rotation": (ApiKeys, "expire"),  # the new key exists, the old one still works
}
"""By name: the call before or after which a gateway may be killed."""
WHEN: Final = ("before", "after")


def mine(folder: Path, step: str, when: str) -> Path:
    """The file that kills the first gateway to reach this step."""
    return folder / f"{step} {when}"


def lay(folder: Path) -> None:
    """From now on, kill this process at each step for which such a file exists."""
    for step, (owner, name) in STEPS.items():
        setattr(owner, name, mined(folder, step, getattr(owner, name)))
    born = Batches.__init__

    def between_staging_and_acceptance(batches: Any, *given: Any, **named: Any) -> None:
        born(batches, *given, **named)
        batches._accept = mined(folder, "batch", batches._accept)

    setattr(Batches, "__init__", between_staging_and_acceptance)  # noqa: B010 - its type is different


def mined(folder: Path, step: str, act: Callable[..., Any]) -> Callable[..., Any]:
    """The same call; the process dies at it if a file exists."""

    @wraps(act, updated=())
    def walk(*given: Any, **named: Any) -> Any:
        _step_on(mine(folder, step, "before"))
        answer = act(*given, **named)
        _step_on(mine(folder, step, "after"))
        return answer

    return walk


def _step_on(file: Path) -> None:
    try:
        file.unlink()  # only one process can
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
