"""All tests in this folder show that malicious input does no harm."""

import sys

import pytest

LINUX = frozenset({"test_images.py", "test_fuzz.py", "test_memory.py"})
"""They measure and limit memory as Linux does, or need the fuzzer, which is installed only there."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/security/" in str(item.path):
            item.add_marker(pytest.mark.security)
            if item.path.name in LINUX and sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="needs Linux"))
