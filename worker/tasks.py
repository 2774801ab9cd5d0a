"""Celery tasks: thin adapters that call the runtime."""

import structlog

from shared.errors import UnavailableError
from worker.runtime import current

log = structlog.get_logger(__name__)


def run_next() -> None:
    """Process jobs until none is queued, after the doorbell has rung. Safe to run any number of times.

    Continuing without another ring saves a busy worker Celery's share of every job, 2 of 4 ms (docs/decisions/0001).
    """
    try:
        while current().analyst.analyze_next():
            pass
    except UnavailableError:
        log.warning("doorbell.unanswered", detail="the ledger is unreachable; the sweeper rings again when it is back")
