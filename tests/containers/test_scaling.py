"""More and fewer workers, and new images, under load: no request and no job fails."""

import pytest

from tests.containers.compose import FILES, WORKERS, ComposeStack, wait_for
from tests.containers.load import Load

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

HELPS = ("up", "--detach", "--no-build", "--no-deps", "--no-recreate", "--wait")


def test_scaling_up_and_down_under_load_fails_no_job(stack: ComposeStack) -> None:
    with Load(stack) as load:
        for workers in (WORKERS + 2, 1, WORKERS):
            stack.compose(*HELPS, "--scale", f"worker={workers}", "worker")
            assert len(stack.containers("worker")) == workers
            reached = load.succeeded + 10
            assert wait_for(lambda: load.succeeded >= reached, seconds=60), load.failures  # noqa: B023 - used at once
    assert load.failures == []


def test_new_workers_replace_old_ones_without_a_failed_job(stack: ComposeStack, next_tag: str) -> None:
    old = stack.containers("worker")
    with Load(stack) as load:
        replace(stack, "worker", old, tag=next_tag, files=FILES)
        reached = load.succeeded + 10
        assert wait_for(lambda: load.succeeded >= reached, seconds=60), load.failures
    assert load.failures == []
    assert {image_of(stack, each) for each in stack.containers("worker")} == {f"vultus-worker-cpu:{next_tag}"}


def replace(stack: ComposeStack, service: str, old: list[str], *, tag: str, files: tuple[str, ...]) -> None:
    """Start as many new containers as there are old ones, then stop and remove the old: as operations.md says."""
    scaled = f"{service}={2 * len(old)}"
    stack.compose(*HELPS, "--scale", scaled, service, files=files, environment={"TAG": tag})
    for container in old:
        stack.docker("stop", "--time", "40", container)
        stack.docker("rm", container)


def image_of(stack: ComposeStack, container: str) -> str:
    return str(stack.inspect(container)["Config"]["Image"])
