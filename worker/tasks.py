"""Celery tasks: thin adapters that fetch the runtime and call a function."""

import structlog

from shared.errors import UnavailableError
from worker.runtime import current

log = structlog.get_logger(__name__)


def run_next() -> None:
    """A doorbell rang: do one job, if one still waits. Safe to run any number of times."""
    try:
        current().analyst.analyze_next()
    except UnavailableError:
        log.warning("doorbell.unanswered", detail="the ledger is away; the sweep rings again when it is back")
