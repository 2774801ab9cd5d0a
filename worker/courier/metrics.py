"""What a courier counts."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS: Final = Counter(
    "vultus_webhook_attempts",
    "Attempts by outcome (`delivered`, `retry`, `failed`) and answer: `2xx` to `5xx`, or a word such as `timeout`.",
    ["outcome", "answer"],
)
DURATION: Final = Histogram(
    "vultus_webhook_attempt_duration_seconds",
    "One attempt, from looking the host up to the end of its answer.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
LAG: Final = Histogram(
    "vultus_webhook_lag_seconds",
    "From the end of a job or batch to the 2xx of whoever was told, retries included.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 36000, 86400),
)
IN_FLIGHT: Final = Gauge("vultus_webhook_deliveries_in_flight", "Deliveries that this courier has in hand.")
DISABLED: Final = Counter("vultus_webhook_endpoints_disabled", "Endpoints that were disabled, by reason.", ["reason"])


def answer_of(status: int | None, error: str | None) -> str:
    """The label of an answer: the class of its status, else the word for why there is none."""
    return f"{status // 100}xx" if status is not None else error or "none"
