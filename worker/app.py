"""Celery entry point (`celery -A worker.app worker`): settings, signals and logging; wiring only."""

import os
import sys
import threading
import warnings
from typing import Any

# One thread per numeric library: jobs run in parallel, and nested thread pools compete (docs/decisions/0003).
# These variables, including the one for onnxruntime's telemetry, must be set before the first import.
for _name, _value in {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}.items():
    os.environ.setdefault(_name, _value)

import structlog  # noqa: E402
from celery import Celery, signals  # noqa: E402
from kombu.asynchronous import get_event_loop  # noqa: E402

from shared.dispatch import RUN_NEXT, celery_app  # noqa: E402
from shared.errors import SettingsError, UnavailableError  # noqa: E402
from shared.observability import logs  # noqa: E402
from shared.settings import load  # noqa: E402
from worker import runtime, tasks  # noqa: E402
from worker.settings import WorkerSettings  # noqa: E402

log = structlog.get_logger(__name__)


def build(settings: WorkerSettings) -> Celery:
    """Build the Celery application of the worker: a thread pool around one engine, one task, and the signals."""
    logs.configure(form=settings.log_format, level=settings.log_level)
    # The warning is about unpickling as root; this worker accepts JSON only.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser")
    application = celery_app(
        settings.broker_url,
        worker_pool="threads",
        worker_concurrency=runtime.threads(settings),
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=True,
    )
    application.task(name=RUN_NEXT, ignore_result=True)(tasks.run_next)

    @signals.setup_logging.connect(weak=False)
    def _keep_our_logging(**_: Any) -> None:
        """Keep Celery from configuring logging, which it does unless this signal has a receiver."""

    @signals.worker_init.connect(weak=False)
    def _start(**_: Any) -> None:
        try:
            runtime.start(settings)
        except (SettingsError, UnavailableError) as error:
            _refuse(str(error))

    @signals.worker_shutting_down.connect(weak=False)
    def _drain(**_: Any) -> None:
        runtime.drain()
        limit = threading.Timer(settings.drain.total_seconds(), runtime.give_up)
        limit.daemon = True
        limit.start()
        _wake_event_loop()

    @signals.worker_shutdown.connect(weak=False)
    def _stop(**_: Any) -> None:
        runtime.stop()

    return application


def _wake_event_loop() -> None:
    """Let Celery notice the signal now; otherwise its event loop first finishes a wait of up to a second."""
    if loop := get_event_loop():
        # A call from the loop's own thread, where signal handlers run, would not end the wait.
        threading.Thread(target=loop.call_soon, args=(lambda: None,), name="waker", daemon=True).start()


def _refuse(reason: str) -> None:
    """Exit with one clear line; otherwise, Celery would log the exception and continue without models."""
    logs.refuse_start("vultus worker", reason)
    sys.exit(2)


try:
    app = build(load(WorkerSettings))
except SettingsError as _error:
    _refuse(str(_error))
