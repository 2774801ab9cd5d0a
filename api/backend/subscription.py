"""Subscribe to what happens to jobs: one subscription for the whole process, passed on to those who wait."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api.backend.waiting import Waiting
from shared.ledger.events import event

SILENCE: Final = timedelta(seconds=10)
"""A subscription that is silent for this long is asked whether it lives, and given as long to answer."""
RECONNECT: Final = timedelta(seconds=0.5)
LINGER: Final = timedelta(seconds=30)
"""How long every transition is still heard after the last who asked for them has gone: the next one may be near."""

log = structlog.get_logger(__name__)


async def follow(client: Redis, *, completions: Sequence[str], transitions: Sequence[str], waiting: Waiting) -> None:
    """Pass events on to `waiting` until cancelled; reconnect when the store was away.

    The channels of `completions` are always subscribed, those of `transitions` only while a client follows a job: each
    message costs every gateway time.
    """
    client.set_retry(Retry(NoBackoff(), 0))  # the driver would reconnect unseen; we must know, to catch up
    away = False
    while True:
        try:
            async with client.pubsub() as events:
                heard = waiting.of_transitions
                await events.subscribe(*completions, *(transitions if heard else ()))
                if away:
                    log.info("events.back")
                away = False
                waiting.catch_up()
                tuning = asyncio.create_task(_tune(events, transitions, waiting, heard=heard))
                try:
                    await _listen(events, transitions, waiting)
                finally:
                    tuning.cancel()
                    await asyncio.gather(tuning, return_exceptions=True)
        except (exceptions.RedisError, OSError):
            if not away:
                log.warning("events.away", detail="waits read the ledger until the subscription is back")
            away = True
            await asyncio.sleep(RECONNECT.total_seconds())


async def _listen(events: PubSub, transitions: Sequence[str], waiting: Waiting) -> None:
    of_transitions = {channel.encode() for channel in transitions}
    asked = False
    while True:
        message = await events.get_message(timeout=SILENCE.total_seconds())
        if message is not None:
            asked = False
            if message["type"] == "message":
                waiting.hear(*event(message["data"]))
            elif message["type"] == "subscribe" and message["channel"] in of_transitions:
                waiting.transitions_are_heard()
        elif asked:
            raise exceptions.TimeoutError  # a dead line ends like a cut one
        else:
            asked = True
            await events.ping()


async def _tune(events: PubSub, transitions: Sequence[str], waiting: Waiting, *, heard: bool) -> None:
    """Subscribe to the moves while somebody wants them. A line that breaks meanwhile ends in `_listen`."""
    while True:
        if waiting.of_transitions and not heard:
            heard = True
            await events.subscribe(*transitions)
        elif heard and not waiting.of_transitions:
            await asyncio.sleep(LINGER.total_seconds())
            if not waiting.of_transitions:
                heard = False
                await events.unsubscribe(*transitions)
        else:
            await waiting.tuned.wait()
            waiting.tuned.clear()
