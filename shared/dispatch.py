"""The doorbell: an empty Celery message that wakes a worker. The ledger decides which job the worker gets."""

import base64
import json
import threading
import uuid
from datetime import timedelta
from typing import Any, Final

import structlog
from celery import Celery
from kombu.exceptions import ChannelError, OperationalError
from kombu.serialization import dumps
from kombu.transport.redis import Channel
from pydantic import SecretStr

RUN_NEXT: Final = "vultus.run_next"
QUEUE: Final = "vultus.doorbells"
ENOUGH: Final = 64
"""Maximum number of pending rings. Enough for any pool, because a woken worker runs until the queue is empty."""
GATHER: Final = timedelta(milliseconds=20)
"""How long rings gather once `ENOUGH` are pending, before these are counted again: a count costs as much as a ring."""

_ID: Final = "{id}"
"""Stands for the id of a doorbell until it is sent."""

# Never restore a doorbell that was taken but not acknowledged: the sweep rings again.
Channel.do_restore = False

log = structlog.get_logger(__name__)


def celery_app(broker_url: SecretStr, **more: Any) -> Celery:
    """Return the Celery application that both sides use. `more` overrides settings, such as the worker's pool.

    Messages are acknowledged late with a prefetch of one, so that a busy worker holds no doorbell. There are no result
    backend, retries or countdowns: the ledger does all of that, because Celery's Redis transport loses and repeats
    messages (docs/decisions/0001). Acknowledgements stay in the worker's memory (`ack_emulation` off): if they are kept
    in the broker, kombu 5.7 ends a worker that loses its broker while a job runs ("Unrecoverable error:
    AttributeError").
    """
    url = broker_url.get_secret_value()
    broker = f"redis+socket://{url.removeprefix('unix://')}" if url.startswith("unix://") else url
    app = Celery("vultus", broker=broker, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        broker_transport_options={
            "ack_emulation": False,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        **more,
    )
    return app


def _template(app: Celery) -> str:
    """Return a doorbell as `send_task` would write it, with `_ID` in place of its ids.

    `send_task` takes 0.3 ms for each message, although doorbells differ in nothing but their ids.
    """
    task = app.amqp.as_task_v2(_ID, RUN_NEXT, ignore_result=True)
    content_type, encoding, body = dumps(task.body, serializer="json")
    properties = {
        **task.properties,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": _ID,
    }
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": encoding,
            "content-type": content_type,
            "headers": task.headers,
            "properties": properties,
        }
    )


class Doorbell:
    """Rings for workers from a dedicated thread, so that a slow broker never blocks the caller.

    A lost ring costs at most a second, because the sweep rings again. While `ENOUGH` rings are unanswered, all workers
    are busy and will find the job without a ring; further rings would only pile up in the broker.

    Args:
        app: the Celery application.
        gather: how long rings wait after a count that found enough pending ones.
    """

    def __init__(self, app: Celery, *, gather: timedelta = GATHER) -> None:
        self._app = app
        self._template = _template(app)
        self._gather = gather.total_seconds()
        # kombu wraps the driver's connection errors in most places but not in all; its own list names both.
        self._away: tuple[type[BaseException], ...] = (OperationalError, *app.connection_for_write().connection_errors)
        self._unsent = 0
        self._allowed = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def ring(self, *, times: int = 1) -> None:
        """Wake this many workers soon. Never block and never fail."""
        with self._changed:
            self._unsent = min(self._unsent + times, ENOUGH)
            if self._thread is None and not self._closed:
                self._start()
            self._changed.notify()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # a process at its memory limit gets no new thread
            log.warning("doorbell.delayed", detail="no memory for its thread; the next ring tries again")
        else:
            self._thread = thread

    def outstanding(self) -> int | None:
        """Return the number of rings that no worker has answered, unsent ones included. None if the broker is away.

        A ring that is being sent may be counted twice but is never missed. A caller that tops up the rings thus rings
        too seldom for a moment rather than too often.
        """
        with self._changed:
            unsent = self._unsent
        try:
            return unsent + self._unanswered()
        except self._away:
            return None

    def close(self) -> None:
        """Stop ringing and close the connections."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join(timeout=10)
        self._app.close()

    def _run(self) -> None:
        away = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unsent or self._closed)
                if self._closed:
                    return
                waiting = self._unsent
            sent = self._send(waiting)
            with self._changed:
                # Drop the rings if the broker is away: the sweep knows better how many are needed later.
                self._unsent = 0 if sent is None else max(0, self._unsent - (sent or waiting))
                if sent == 0:
                    self._changed.wait_for(lambda: self._closed, timeout=self._gather)
            if (sent is None) is not away:
                away = sent is None
                (log.warning if away else log.info)("broker.away" if away else "broker.back")

    def _send(self, waiting: int) -> int | None:
        """Send waiting rings. Return how many were sent: 0 if enough are pending, None if the broker is away."""
        try:
            if not self._allowed:
                # One count of the unanswered rings is good for as many rings as were missing.
                self._allowed = max(0, ENOUGH - self._unanswered())
            count = min(waiting, self._allowed)
            if count:
                messages = [self._template.replace(_ID, str(uuid.uuid4())) for _ in range(count)]
                with self._app.connection_or_acquire() as connection:
                    connection.default_channel.client.lpush(QUEUE, *messages)
                self._allowed -= count
        except self._away:
            return None
        return count

    def _unanswered(self) -> int:
        try:
            with self._app.connection_or_acquire() as connection:
                return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)
        except ChannelError:
            return 0
