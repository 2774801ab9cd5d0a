"""Programs of Debian's `prometheus` and `prometheus-alertmanager` packages."""

import shutil

import pytest


def binary(*names: str) -> str:
    """The path of the first of these programs that is installed; skips the test if none is."""
    for name in names:
        if path := shutil.which(name):
            return path
    install = "apt-get install -y --no-install-recommends prometheus prometheus-alertmanager"
    return pytest.skip(f"needs {names[0]}: {install}")
