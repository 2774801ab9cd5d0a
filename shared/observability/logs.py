"""Configures logging: events with named fields, for a terminal or as JSON; never an image, embedding or secret."""

import json
import logging
import os
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.types import Processor

QUIET = {
    "httpcore": logging.WARNING,  # at debug it logs full image URLs, which may contain secrets
    "kombu": logging.ERROR,
    "celery.app.trace": logging.WARNING,  # start and end of every doorbell; the job events say more
    "celery.worker.strategy": logging.WARNING,
}


def configure(*, form: str, level: str) -> None:
    """Send all log output of this process to standard error. `form` is `console` or `json`."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True) if form == "json" else _clock,
    ]
    final: list[Processor] = (
        [_TRACEBACKS, structlog.processors.JSONRenderer()]
        if form == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=0,
                sort_keys=False,
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _drop_logger_name, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)


def refuse_start(process: str, reason: str) -> None:
    """Print why a process does not start as one line, which is JSON if `VULTUS_LOG_FORMAT` is `json`."""
    line = f"{process}: {reason}"
    if os.environ.get("VULTUS_LOG_FORMAT") == "json":
        now = datetime.now(UTC).isoformat()
        line = json.dumps({
            "event": "start.refused", "process": process, "detail": reason, "level": "error", "timestamp": now,
        })  # fmt: skip
    sys.stderr.write(f"{line}\n")


# Tracebacks without local variables, which both forms show by default: they contain images and embeddings.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
_clock = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)


def _drop_logger_name(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("logger", None)
    return event
