"""`make up`: run the local stack in the foreground."""

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
"""Seconds. Loading a large pack from a slow disk takes a while."""


class _Stopped(Exception):  # noqa: N818 - a signal, not an error
    """SIGINT or SIGTERM arrived."""


def _stop(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


def say(name: str, line: str) -> None:
    """Print one log line, prefixed with the name of its process."""
    print(f"{name:>9} | {line}", flush=True)


def number(name: str, default: int) -> int:
    """Return a positive integer from the environment.

    Raises:
        StackError: the value is not a positive integer.
    """
    text = os.environ.get(name, "") or str(default)
    if not text.isdecimal() or int(text) < 1:
        msg = f"{name} must be a positive integer (got {text!r})"
        raise StackError(msg)
    return int(text)


def main() -> int:
    """Run the stack until SIGINT or SIGTERM, then drain and stop it."""
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
                say("stack", "stopping: no new jobs are accepted; workers finish the running ones")
        say("stack", "stopped; no process is left running")
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
        "press Ctrl-C to drain and stop everything",
    ]
    if pack == "compact":
        lines.insert(2, "the compact pack is for evaluation and tests; see docs/models.md to install buffalo_l")
    for line in lines:
        say("stack", line)


def _access(stack: Stack) -> str:
    """Describe who has access. If keys are required and none exists, create a first key and show it once."""
    if stack.environment.get("VULTUS_AUTH", "off") == "off":
        return "NO AUTHENTICATION: anyone who can reach this port may do everything; it is bound to this machine only"
    with stack.ledger.client() as client:
        keys = ApiKeys(client, shards=1)
        if "keys" not in stack.environment["VULTUS_AUTH"] or keys.of(DEFAULT):
            return "authentication required: calls need an API key or a token (docs/authentication.md)"
        public, whole, digest = new_key()
        keys.create(ApiKey(public, DEFAULT, frozenset(Scope), digest, name="first"))
    return f"authentication required; first API key, with every scope, shown only once: {whole}"


if __name__ == "__main__":
    sys.exit(main())
