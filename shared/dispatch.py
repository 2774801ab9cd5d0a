"""The doorbell: an empty Celery message that wakes a worker. Which job it gets is the ledger's to say."""

import threading
from typing import Any, Final

import structlog
from celery import Celery
from kombu.exceptions import ChannelError, OperationalError
from kombu.transport.redis import Channel
from pydantic import SecretStr

RUN_NEXT: Final = "vultus.run_next"
QUEUE: Final = "vultus.doorbells"
ENOUGH: Final = 64
"""Maximum number of pending rings: enough for any pool, as a woken worker works until the queue is empty."""

# A doorbell that was taken and not answered is never put back: the sweep rings anew.
Channel.do_restore = False

log = structlog.get_logger(__name__)


def celery_app(broker_url: SecretStr, **more: Any) -> Celery:
    """The Celery application that both sides use; `more` overrides settings (the worker's pool, say).

    Late acknowledgement with a prefetch of one, so that a busy worker hoards no doorbell; no result backend, no
    retries of its own and no countdowns: all of that is the ledger's, because Celery's Redis transport loses and
    repeats messages (docs/decisions/0001). Acknowledgements stay in the worker's memory (`ack_emulation` off): kept in
    the broker, kombu 5.7 ends a worker whose broker was lost while a job ran ("Unrecoverable error: AttributeError").
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


class Doorbell:
    """Rings for workers from a thread of its own, so that a slow broker never holds whoever rings.

    Losing a ring costs a second at most: the sweep rings again. Where `ENOUGH` are unanswered everybody is busy, and
    comes to the job without being rung for: more would only pile up in the broker.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        # kombu wraps the driver's connection errors in most places, not in all: its own list names both.
        self._away: tuple[type[BaseException], ...] = (OperationalError, *app.connection_for_write().connection_errors)
        self._owed = 0
        self._unseen = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def ring(self, *, times: int = 1) -> None:
        """Wake this many workers soon. Never blocks and never fails."""
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
                self._thread.start()
            self._owed = min(self._owed + times, ENOUGH)
            self._changed.notify()

    def outstanding(self) -> int | None:
        """Rings that no worker has answered yet, the ones still owed included; None when the broker is away.

        One that is sent in this moment may count twice, and is never missed: whoever rings for what is missing rings
        too seldom for a moment rather than too often.
        """
        with self._changed:
            owed = self._owed
        try:
            return owed + self._unanswered()
        except self._away:
            return None

    def close(self) -> None:
        """Stop ringing and give the connections back."""
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
                self._changed.wait_for(lambda: self._owed or self._closed)
                if self._closed:
                    return
            heard = self._send()
            with self._changed:
                # Rings that a dead broker cannot take are dropped: the sweep knows better how many are needed later.
                self._owed = max(0, self._owed - 1) if heard else 0
            if heard is away:
                away = not heard
                (log.warning if away else log.info)("broker.away" if away else "broker.back")

    def _send(self) -> bool:
        try:
            if not self._unseen:
                # One look is good for as many rings as were missing then.
                self._unseen = max(0, ENOUGH - self._unanswered())
            if self._unseen:
                self._app.send_task(RUN_NEXT, retry=False, ignore_result=True)
                self._unseen -= 1
        except self._away:
            return False
        return True

    def _unanswered(self) -> int:
        try:
            with self._app.connection_or_acquire() as connection:
                return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)
        except ChannelError:
            return 0
