"""Subscribe to job events: one subscription for the whole process, which notifies all waits."""

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
"""A subscription that is silent for this long gets a ping, and as long again to respond."""
RECONNECT: Final = timedelta(seconds=0.5)
LINGER: Final = timedelta(seconds=30)
"""How long the transition channels stay subscribed after the last watcher has left, in case another one comes."""

log = structlog.get_logger(__name__)


async def follow(client: Redis, *, completions: Sequence[str], transitions: Sequence[str], waiting: Waiting) -> None:
    """Pass events on to `waiting` until cancelled, and reconnect after each outage of the store.

    The channels of `completions` are always subscribed. Those of `transitions` are subscribed only while a client
    follows a job, because each message costs every gateway time.
    """
    client.set_retry(Retry(NoBackoff(), 0))  # no silent reconnects by the driver: missed events must be caught up
    away = False
    while True:
        try:
            async with client.pubsub() as events:
                subscribed = waiting.of_transitions
                await events.subscribe(*completions, *(transitions if subscribed else ()))
                if away:
                    log.info("events.back")
                away = False
                waiting.catch_up()
                tuning = asyncio.create_task(_tune(events, transitions, waiting, subscribed=subscribed))
                try:
                    await _listen(events, transitions, waiting)
                finally:
                    tuning.cancel()
                    await asyncio.gather(tuning, return_exceptions=True)
        except (exceptions.RedisError, OSError):
            if not away:
                log.warning("events.away", detail="waits poll the ledger until the subscription is back")
            away = True
            await asyncio.sleep(RECONNECT.total_seconds())


async def _listen(events: PubSub, transitions: Sequence[str], waiting: Waiting) -> None:
    transition_channels = {channel.encode() for channel in transitions}
    pinged = False
    while True:
        message = await events.get_message(timeout=SILENCE.total_seconds())
        if message is not None:
            pinged = False
            if message["type"] == "message":
                waiting.hear(*event(message["data"]))
            elif message["type"] == "subscribe" and message["channel"] in transition_channels:
                waiting.transitions_are_heard()
        elif pinged:
            raise exceptions.TimeoutError  # treat a dead connection like a closed one
        else:
            pinged = True
            await events.ping()


async def _tune(events: PubSub, transitions: Sequence[str], waiting: Waiting, *, subscribed: bool) -> None:
    """Subscribe to transitions while a watcher needs them. `_listen` notices when the connection breaks."""
    while True:
        if waiting.of_transitions and not subscribed:
            subscribed = True
            await events.subscribe(*transitions)
        elif subscribed and not waiting.of_transitions:
            await asyncio.sleep(LINGER.total_seconds())
            if not waiting.of_transitions:
                subscribed = False
                await events.unsubscribe(*transitions)
        else:
            await waiting.tuned.wait()
            waiting.tuned.clear()
