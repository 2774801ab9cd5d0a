"""Programs of Debian's `prometheus` package."""

import shutil

import pytest


def binary(name: str) -> str:
    """The path of this program; skips the test if it is not installed."""
    if path := shutil.which(name):
        return path
    return pytest.skip(f"needs {name}: apt-get install -y --no-install-recommends prometheus")
