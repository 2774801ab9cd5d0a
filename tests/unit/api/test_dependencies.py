"""Dependencies run on the event loop unless they read a store, because a thread costs more than most of them."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from api.admin.tenants import TenantDep
from api.app import create_app
from api.settings.api import ApiSettings
from api.webhooks.endpoints import EndpointDep

READS_A_STORE = {get_args(each)[1].dependency for each in (TenantDep, EndpointDep)}


def test_only_dependencies_that_read_a_store_run_in_a_thread() -> None:
    dependencies = {
        dependency
        for context in iter_route_contexts(create_app(ApiSettings()).routes)
        if isinstance(route := context.original_route, APIRoute)
        for dependency in dependencies_of(route.dependant)
    }
    assert {each for each in dependencies if not runs_on_the_loop(each)} == READS_A_STORE


def dependencies_of(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    for each in dependant.dependencies:
        assert each.call is not None
        yield each.call
        yield from dependencies_of(each)


def runs_on_the_loop(dependency: Callable[..., Any]) -> bool:
    return any(map(inspect.iscoroutinefunction, (dependency, type(dependency).__call__)))
