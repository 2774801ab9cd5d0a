"""Everything in this folder shows that input meant to harm does none."""

import sys

import pytest

LINUX = frozenset({"test_images.py", "test_fuzz.py", "test_memory.py"})
"""They measure memory and limit it as Linux does, or need the fuzzer, which is installed there alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/security/" in str(item.path):
            item.add_marker(pytest.mark.security)
            if item.path.name in LINUX and sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="needs Linux"))
