"""Only known modules use HTTP clients that read proxies from the environment."""

from typing import Final

import pytest

from tests.architecture.modules import imports
from tools.setup import ROOT

CLIENTS: Final = {"requests", "httpx", "aiohttp", "urllib.request", "urllib3"}
"""Clients that read `http_proxy` and its siblings by default."""
ALLOWED: Final = {
    "shared/observability/exporting.py": "spans, through a session that ignores the environment",
    "worker/packs/fetch.py": "archives of models, which an operator fetches through the proxy of the machine",
    "tools/loopback.py": "the one place for calls to this machine",
    "tools/demo.py": "types and status codes; its calls are those of tools/loopback.py",
    "tools/audit.py": "known holes of dependencies, asked on the internet",
}


@pytest.mark.parametrize("folder", ["api", "worker", "shared", "tools", "bench"])
def test_no_other_module_uses_proxies_from_the_environment(folder: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*.py")
        if any(name == client or name.startswith(client + ".") for name in imports(path) for client in CLIENTS)
    }
    assert found <= set(ALLOWED)


def test_the_demo_sends_nothing_on_its_own() -> None:
    text = (ROOT / "tools" / "demo.py").read_text(encoding="utf-8")
    assert not [verb for verb in ("get", "post", "put", "request", "Session") if f"requests.{verb}(" in text]
