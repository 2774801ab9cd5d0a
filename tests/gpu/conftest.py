"""All tests in this folder need a GPU; they are skipped if the driver reports none."""

import pytest

from worker.engine.devices import cuda_devices


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, and skip them without a GPU."""
    absent = cuda_devices() == 0
    for item in items:
        if "tests/gpu/" in str(item.path):
            item.add_marker(pytest.mark.gpu)
            if absent:
                item.add_marker(pytest.mark.skip(reason="the NVIDIA driver sees no GPU"))
