"""The doorbell: an empty Celery message that wakes a worker. Which job it gets is the ledger's to say."""

from typing import Any, Final

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError
from pydantic import SecretStr

RUN_NEXT: Final = "vultus.run_next"
QUEUE: Final = "vultus.doorbells"


def celery_app(broker_url: SecretStr, **more: Any) -> Celery:
    """The Celery application that both sides use; `more` overrides settings (the worker's pool, say).

    Late acknowledgement with a prefetch of one, so that a busy worker hoards no doorbell; no result backend, no
    retries of its own and no countdowns: all of that is the ledger's, because Celery's Redis transport loses and
    repeats messages (docs/decisions/0001).
    """
    app = Celery("vultus", broker=broker_url.get_secret_value(), set_as_current=False)
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
            "visibility_timeout": 3600,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 5,
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
    """Rings for workers. Losing a ring costs a second at most: the sweep rings again."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ring(self) -> bool:
        """Wake one worker. False when the broker cannot be reached: the sweep will ring. Not for the event loop."""
        try:
            self._app.send_task(RUN_NEXT, retry=False, ignore_result=True)
        except (OperationalError, OSError):
            return False
        return True

    def outstanding(self) -> int | None:
        """Rings that no worker has answered yet; None when the broker cannot be reached."""
        try:
            with self._app.connection_or_acquire() as connection:
                return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)
        except ChannelError:
            return 0
        except (OperationalError, OSError):
            return None

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()
