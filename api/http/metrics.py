"""What a gateway counts of its own; what it reads from the ledger is `store_metrics.py`."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other word for a method is counted as `other`: clients may make up as many as they like."""

REQUESTS: Final = Counter(
    "vultus_http_requests", "Requests answered; 499: the client left before.", ["method", "route", "status"]
)
DURATION: Final = Histogram(
    "vultus_http_request_duration_seconds",
    "From the head of a request to the end of its answer; waits that were asked for are in it.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
IN_PROGRESS: Final = Gauge("vultus_http_requests_in_progress", "Requests in hand.")


def method_of(word: str) -> str:
    """The method, or `other`."""
    return word if word in METHODS else "other"


def note_request(*, method: str, route: str, status: int, seconds: float) -> None:
    """Count one request; `method` is one of `method_of`, `route` a template, so that there are few of both."""
    REQUESTS.labels(method, route, str(status)).inc()
    DURATION.labels(method, route).observe(seconds)
