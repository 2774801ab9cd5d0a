"""Entry point of the courier process (`python -m worker.courier`): wiring, start and stop."""

import asyncio
import signal
import sys
from contextlib import closing

import structlog

from shared.errors import SettingsError, UnavailableError
from shared.ledger.connection import connect, verify_durability
from shared.ledger.jobs.store import Ledger
from shared.ledger.layout import Layout
from shared.ledger.webhooks.deliveries import Deliveries
from shared.ledger.webhooks.endpoints import Endpoints
from shared.observability import logs, tracing
from shared.observability.monitor import Monitor, Readiness
from shared.settings import load
from worker.courier.courier import Courier
from worker.courier.settings import CourierSettings

log = structlog.get_logger(__name__)


async def _run(courier: Courier) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, courier.stop)
    log.info("courier.ready")
    await courier.run()
    log.info("courier.stopped")


def main() -> None:
    """Send callbacks until the process receives SIGTERM or SIGINT."""
    try:
        settings = load(CourierSettings)
        logs.configure(form=settings.log_format, level=settings.log_level)
        _work(settings)
    except (SettingsError, UnavailableError) as error:
        logs.refuse_start("vultus courier", str(error))
        sys.exit(2)


def _work(settings: CourierSettings) -> None:
    couriers: list[Courier] = []

    def readiness() -> Readiness:
        return couriers[0].readiness() if couriers else Readiness.LOADING

    with Monitor(settings, ready=readiness):
        client = connect(settings.ledger_url)
        verify_durability(client, settings.durability)
        Layout(client, shards=settings.shards).settle()
        tracing.start("courier")

        async def run() -> None:
            couriers.append(
                Courier(
                    settings,
                    deliveries=Deliveries(client, shards=settings.shards),
                    endpoints=Endpoints(client, shards=settings.shards),
                    jobs=Ledger(client, shards=settings.shards, lease=settings.lease),
                )
            )
            await _run(couriers[0])

        with closing(client):
            asyncio.run(run())
        tracing.stop()


if __name__ == "__main__":
    main()
