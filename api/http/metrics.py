"""Metrics of the gateway itself. Those read from the ledger are in `store_metrics.py`."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

NO_ROUTE: Final = "-"
"""The route of all requests whose path has none, because clients can invent any number of paths."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other method is counted as `other`, because clients can invent any number of them."""

REQUESTS: Final = Counter(
    "vultus_http_requests",
    "Completed requests. 499: the client disconnected before the response.",
    ["method", "route", "status"],
)
DURATION: Final = Histogram(
    "vultus_http_request_duration_seconds",
    "From the request head to the end of the response, including requested waits.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
IN_PROGRESS: Final = Gauge("vultus_http_requests_in_progress", "Requests in progress.")


ON_ANY_ROUTE: Final = frozenset({401, 403, 429, 499, 500})
"""Statuses that are counted from 0 on every route, documented or not."""


def expect_requests(*, methods: Iterable[str], route: str, statuses: Iterable[int]) -> None:
    """Start the counters of a route at 0: `rate` does not see the first increment of a series that did not exist."""
    for method in methods:
        DURATION.labels(method, route)
        for status in ON_ANY_ROUTE.union(statuses):
            REQUESTS.labels(method, route, str(status))


def method_of(word: str) -> str:
    """Return the method if it is known, otherwise `other`."""
    return word if word in METHODS else "other"


def note_request(*, method: str, route: str, status: int, seconds: float) -> None:
    """Count one request. Pass a method from `method_of` and a route template, to limit the label values."""
    REQUESTS.labels(method, route, str(status)).inc()
    DURATION.labels(method, route).observe(seconds)
