"""Celery tasks: thin adapters that fetch the runtime and call a function."""

import structlog

from shared.errors import UnavailableError
from worker.runtime import current

log = structlog.get_logger(__name__)


def run_next() -> None:
    """A doorbell rang: do jobs until none waits. Safe to run any number of times.

    Going on without another ring saves a busy worker Celery's part of every job, 2 of 4 ms (docs/decisions/0001).
    """
    try:
        while current().analyst.analyze_next():
            pass
    except UnavailableError:
        log.warning("doorbell.unanswered", detail="the ledger is away; the sweep rings again when it is back")
