"""Settings of the edge reach the server."""

from datetime import timedelta

from api.http.server import server_config
from tests.unit.api.conftest import MakeGateway


def test_idle_connections_outlive_those_of_common_proxies(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    assert server_config(gateway.app, gateway.app.state.settings).timeout_keep_alive == 75
    gateway = make_gateway(keep_alive=timedelta(seconds=0.5))
    assert server_config(gateway.app, gateway.app.state.settings).timeout_keep_alive == 0.5
