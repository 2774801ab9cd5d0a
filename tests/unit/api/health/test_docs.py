"""The API reference page."""

import re

from tests.unit.api.conftest import Gateway


def test_page_loads_nothing_from_other_hosts(gateway: Gateway) -> None:
    page = gateway.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 3
    for address in loaded:
        assert address.startswith("/")
        assert gateway.get(address).status_code == 200
