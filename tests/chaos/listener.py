"""Listens to every completion that the ledger announces while it is up."""

import threading
import time

import redis

from shared.ledger import keys
from shared.ledger.events import event


class Listener(threading.Thread):
    """Listens to the completions of every shard until the storm is over."""

    def __init__(self, client: redis.Redis, *, shards: int, over: threading.Event) -> None:
        super().__init__(name="listener")
        self.ends: list[tuple[str, str]] = []
        self._client, self._over = client, over
        self._channels = [keys.completions(shard) for shard in range(shards)]

    def run(self) -> None:
        """Run until the storm is over; messages sent while the ledger is down are missed."""
        while not self._over.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]
                    subscription.subscribe(*self._channels)
                    while not self._over.is_set():
                        message = subscription.get_message(timeout=0.2)
                        if message is not None:
                            subject, status = event(message["data"])
                            if status is not None:
                                self.ends.append((subject, str(status)))
            except redis.RedisError:
                time.sleep(0.1)
