"""The container tests need a daemon and built images: `make containers` provides both."""

import os
from collections.abc import Iterator

import pytest

from tests.containers.compose import PROJECT, SERVICES, ComposeStack


@pytest.fixture(scope="session")
def stack() -> Iterator[ComposeStack]:
    """A healthy stack with a key; nothing of it is left afterwards."""
    if "CONTAINERS_READY" not in os.environ:
        pytest.skip("needs Docker and built images: run `make containers`")
    stack = ComposeStack()
    stack.down()
    try:
        stack.up()
        stack.first_starts = {
            name: min(stack.state(each)["StartedAt"] for each in stack.containers(name)) for name in SERVICES
        }
        stack.create_key()
        yield stack
    finally:
        stack.down()
    label = f"label=com.docker.compose.project={PROJECT}"
    for kind in (("ps", "--all"), ("network", "ls"), ("volume", "ls")):
        assert stack.docker(*kind, "--quiet", "--filter", label) == ""


@pytest.fixture
def next_tag(stack: ComposeStack) -> Iterator[str]:
    """New images of gateway and worker, under a tag of their own."""
    for name in ("vultus-gateway", "vultus-worker-cpu"):
        container = stack.docker("create", f"{name}:local")
        stack.docker("commit", "--change", "LABEL version=next", container, f"{name}:next")
        stack.docker("rm", container)
    yield "next"
    stack.up()
    for name in ("vultus-gateway", "vultus-worker-cpu"):
        stack.docker("image", "rm", f"{name}:next")
