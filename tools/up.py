"""`make up`: the local stack in the foreground, for real use on one machine."""

import os
import signal
import sys
import time
from typing import Final

from shared.ledger.tenants.api_keys import ApiKeys
from shared.tenants import DEFAULT, ApiKey, Scope, new_key
from tools.setup import ROOT
from tools.stack import Stack, StackError

READY_WITHIN: Final = 120.0
"""Seconds; loading a large pack from a slow disk takes its time."""


class _Stopped(Exception):  # noqa: N818 - a signal, not an error
    """SIGINT or SIGTERM arrived."""


def _stop(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


def say(name: str, line: str) -> None:
    """One log line, with the process it comes from."""
    print(f"{name:>9} | {line}", flush=True)


def number(name: str, default: int) -> int:
    """A whole number from the environment.

    Raises:
        StackError: it is something else.
    """
    text = os.environ.get(name, "") or str(default)
    if not text.isdecimal() or int(text) < 1:
        msg = f"{name} must be a whole number above 0 (got {text!r})"
        raise StackError(msg)
    return int(text)


def main() -> int:
    """Run the stack until SIGINT or SIGTERM; then drain and stop all of it."""
    begin = time.monotonic()
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        port, workers = number("PORT", 8000), number("WORKERS", 1)
        with Stack(data=ROOT / ".data", port=port, workers=workers, sink=say) as stack:
            try:
                health = stack.wait_ready(READY_WITHIN)
                _welcome(stack, health, time.monotonic() - begin)
                while True:
                    stack.supervise_once()
                    time.sleep(0.2)
            except _Stopped:
                say("stack", "stopping: no new jobs; workers finish what they hold")
        say("stack", "stopped; nothing is left running")
    except _Stopped:
        say("stack", "stopped")
    except StackError as error:
        print(f"make up: {error}", file=sys.stderr)
        return 2
    return 0


def _welcome(stack: Stack, health: dict[str, object], seconds: float) -> None:
    pack = stack.environment["VULTUS_PACK"]
    lines = [
        f"ready in {seconds:.1f} s: {stack.url}  (try {stack.url}/docs, and {stack.url}/demo/liveness)",
        f"workers: {health.get('workers')}, model pack: {pack}, data: {stack.data}",
        _access(stack),
        "Ctrl-C drains and stops everything",
    ]
    if pack == "compact":
        lines.insert(2, "the compact pack is for evaluation and tests; docs/models.md says how to install buffalo_l")
    for line in lines:
        say("stack", line)


def _access(stack: Stack) -> str:
    """Describe who may use it; if keys are required and none exists, create the first one and show it this once."""
    if stack.environment.get("VULTUS_AUTH", "off") == "off":
        return "NO AUTHENTICATION: anyone who reaches this port may do anything; it listens on this machine only"
    with stack.ledger.client() as client:
        keys = ApiKeys(client, shards=1)
        if "keys" not in stack.environment["VULTUS_AUTH"] or keys.of(DEFAULT):
            return "closed: calls need a key or token (docs/authentication.md)"
        public, whole, digest = new_key()
        keys.create(ApiKey(public, DEFAULT, frozenset(Scope), digest, name="first"))
    return f"closed; a first key with every scope, shown this once: {whole}"


if __name__ == "__main__":
    sys.exit(main())
