"""Places at a host: bounded, shared out between tenants, and given back."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from worker.courier.places import Places


class Crowd:
    """Tasks that hold places until they are told to go."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.held: list[str] = []
        self.gates: dict[str, list[asyncio.Event]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, tenant: str, *, times: int = 1, host: str = "h") -> int:
        """So many more of this tenant; how many of all hold a place now."""
        self.tasks += [asyncio.create_task(self._stay(tenant, host)) for _ in range(times)]
        return await self.settled()

    async def leave(self, tenant: str) -> int:
        """One of the tenant gives its place back."""
        self.gates[tenant].pop(0).set()
        return await self.settled()

    async def settled(self) -> int:
        for _ in range(10):
            await asyncio.sleep(0)
        return len(self.held)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _stay(self, tenant: str, host: str) -> None:
        async with self.places.hold(host, tenant):
            self.held.append(tenant)
            gate = asyncio.Event()
            self.gates.setdefault(tenant, []).append(gate)
            try:
                await gate.wait()
            finally:
                self.held.remove(tenant)


def crowded(most: int, case: Callable[[Crowd], Awaitable[None]]) -> None:
    async def run() -> None:
        crowd = Crowd(Places(most))
        try:
            await case(crowd)
        finally:
            await crowd.end()
        assert crowd.places._held == {}  # nothing is kept of hosts that nobody is at

    asyncio.run(run())


@pytest.mark.parametrize(("most", "alone"), [(1, 1), (2, 1), (8, 4), (64, 32)])
def test_one_tenant_holds_no_more_places_than_it_leaves_free(most: int, alone: int) -> None:
    async def case(crowd: Crowd) -> None:
        assert await crowd.come("a", times=2 * most) == alone

    crowded(most, case)


def test_a_later_tenant_gets_a_place() -> None:
    async def case(crowd: Crowd) -> None:
        assert await crowd.come("a", times=100) == 4
        for number, tenant in enumerate("bcde", 5):
            assert await crowd.come(tenant) == number
        assert await crowd.come("f") == 8  # as many tenants as there are places left: it waits, and nobody is stopped
        assert await crowd.leave("b") == 8
        assert "f" in crowd.held

    crowded(8, case)


def test_a_released_place_goes_to_a_waiting_tenant() -> None:
    async def case(crowd: Crowd) -> None:
        assert await crowd.come("a", times=3) == 2
        assert await crowd.leave("a") == 2
        assert await crowd.leave("a") == 1

    crowded(4, case)


def test_hosts_do_not_wait_for_each_other() -> None:
    async def case(crowd: Crowd) -> None:
        assert await crowd.come("a", times=5) == 1
        assert await crowd.come("a", times=5, host="other") == 2

    crowded(2, case)
