"""The API reference page, and the document that it shows."""

import re
import threading
from typing import Any

import pytest

from tests.unit.api.conftest import Gateway


def test_page_loads_nothing_from_other_hosts(gateway: Gateway) -> None:
    page = gateway.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 3
    for address in loaded:
        assert address.startswith("/")
        assert gateway.get(address).status_code == 200


def test_the_document_is_built_beside_the_event_loop(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def build() -> dict[str, Any]:
        threads.append(threading.current_thread())
        return {"openapi": "3.1.0"}

    monkeypatch.setattr(gateway.app, "openapi", build)
    assert gateway.get("/openapi.json").json() == {"openapi": "3.1.0"}
    assert threads != [threading.main_thread()]
