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


async def follow(client: Redis, *, ends: Sequence[str], moves: Sequence[str], waiting: Waiting) -> None:
    """Pass what happens on to `waiting` until cancelled; a store that went away is found again by itself.

    The channels of `ends` are always heard, those of all `moves` only while somebody asks for them: each message costs
    every gateway time.
    """
    client.set_retry(Retry(NoBackoff(), 0))  # the driver would reconnect unseen; we must know, to catch up
    away = False
    while True:
        try:
            async with client.pubsub() as events:
                heard = waiting.of_moves
                await events.subscribe(*ends, *(moves if heard else ()))
                if away:
                    log.info("events.back")
                away = False
                waiting.catch_up()
                tuning = asyncio.create_task(_tune(events, moves, waiting, heard=heard))
                try:
                    await _listen(events, moves, waiting)
                finally:
                    tuning.cancel()
                    await asyncio.gather(tuning, return_exceptions=True)
        except (exceptions.RedisError, OSError):
            if not away:
                log.warning("events.away", detail="waits read the ledger until the subscription is back")
            away = True
            await asyncio.sleep(RECONNECT.total_seconds())


async def _listen(events: PubSub, moves: Sequence[str], waiting: Waiting) -> None:
    of_moves = {channel.encode() for channel in moves}
    asked = False
    while True:
        message = await events.get_message(timeout=SILENCE.total_seconds())
        if message is not None:
            asked = False
            if message["type"] == "message":
                waiting.hear(*event(message["data"]))
            elif message["type"] == "subscribe" and message["channel"] in of_moves:
                waiting.moves_are_heard()
        elif asked:
            raise exceptions.TimeoutError  # a dead line ends like a cut one
        else:
            asked = True
            await events.ping()


async def _tune(events: PubSub, moves: Sequence[str], waiting: Waiting, *, heard: bool) -> None:
    """Subscribe to the moves while somebody wants them. A line that breaks meanwhile ends in `_listen`."""
    while True:
        if waiting.of_moves and not heard:
            heard = True
            await events.subscribe(*moves)
        elif heard and not waiting.of_moves:
            await asyncio.sleep(LINGER.total_seconds())
            if not waiting.of_moves:
                heard = False
                await events.unsubscribe(*moves)
        else:
            await waiting.tuned.wait()
            waiting.tuned.clear()
