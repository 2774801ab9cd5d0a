"""All tests in this folder run a real stack."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them as integration tests, part of `make test`; `make chaos-short` and `make chaos` are longer."""
    for item in items:
        if "tests/chaos/" in str(item.path):
            item.add_marker(pytest.mark.integration)
