"""Prometheus metrics of the courier."""

from itertools import product
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from shared.webhooks.schemas import DisabledReason

ERRORS: Final = (
    "timeout",
    "connect_timeout",
    "no_connection",
    "tls",
    "no_answer",
    "unresolved",
    "address_refused",
    "url_refused",
    "internal_error",
)
"""Errors of an attempt without a status."""

ATTEMPTS: Final = Counter(
    "vultus_webhook_attempts",
    "Attempts by outcome (`delivered`, `retry`, `failed`) and answer: `2xx` to `5xx`, or an error such as `timeout`.",
    ["outcome", "answer"],
)
DURATION: Final = Histogram(
    "vultus_webhook_attempt_duration_seconds",
    "Duration of one attempt, from DNS lookup to the end of the response.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
LAG: Final = Histogram(
    "vultus_webhook_lag_seconds",
    "Time from the completion of a job or batch to the receiver's 2xx, including retries.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 36000, 86400),
)
IN_FLIGHT: Final = Gauge("vultus_webhook_deliveries_in_flight", "Deliveries that this courier is processing.")
DISABLED: Final = Counter("vultus_webhook_endpoints_disabled", "Disabled endpoints by reason.", ["reason"])


# Every series exists from the start: `rate` does not see the first increment of one that did not.
ATTEMPTS.labels("delivered", "2xx")
for _outcome, _answer in product(("retry", "failed"), ("3xx", "4xx", "5xx", *ERRORS)):
    ATTEMPTS.labels(_outcome, _answer)
for _reason in (DisabledReason.GONE, DisabledReason.FAILING):
    DISABLED.labels(_reason.value)


def answer_of(status: int | None, error: str | None) -> str:
    """Return the label of a response: its status class, or the error code if there is no status."""
    return f"{status // 100}xx" if status is not None else error or "none"
