"""Everything in this folder runs a real stack."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """It counts as integration, and is part of `make test`; longer storms are `make chaos-short` and `make chaos`."""
    for item in items:
        if "tests/chaos/" in str(item.path):
            item.add_marker(pytest.mark.integration)
