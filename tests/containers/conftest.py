"""The container tests need a daemon and built images: `make containers` provides both."""

import os
from collections.abc import Iterator

import pytest

from tests.containers.compose import PROJECT, ComposeStack


@pytest.fixture(scope="session")
def stack() -> Iterator[ComposeStack]:
    """A healthy stack with a key; nothing of it is left afterwards."""
    if "CONTAINERS_READY" not in os.environ:
        pytest.skip("needs Docker and built images: run `make containers`")
    stack = ComposeStack()
    stack.down()
    try:
        stack.up()
        stack.create_key()
        yield stack
    finally:
        stack.down()
    label = f"label=com.docker.compose.project={PROJECT}"
    for kind in (("ps", "--all"), ("network", "ls"), ("volume", "ls")):
        assert stack.docker(*kind, "--quiet", "--filter", label) == ""
