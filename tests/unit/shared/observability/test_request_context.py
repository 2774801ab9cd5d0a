"""Request contexts: ids bound for a block, and supported trace headers."""

import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared.observability.request_context import (
    TRACEPARENT,
    UNKNOWN,
    RequestContext,
    bind_request_context,
    current,
    read_traceparent,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"
"""The example from the specification."""


def test_the_example_of_the_specification_is_accepted() -> None:
    assert read_traceparent(GOOD) == GOOD
    assert RequestContext(traceparent=GOOD).trace_id == TRACE


def test_invalid_and_unsupported_headers_are_ignored() -> None:
    for wrong in (
        "",
        GOOD.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"{GOOD}-more",
        f" {GOOD}",
        f"{GOOD}\n",
    ):
        assert read_traceparent(wrong) is None, wrong


@given(st.text(max_size=80))
def test_a_header_is_used_unchanged_or_not_at_all(text: str) -> None:
    assert read_traceparent(text) in {text, None}
    assert read_traceparent(text) is None or TRACEPARENT.fullmatch(text)


def test_a_context_is_bound_for_its_block_and_its_log_entries() -> None:
    assert current() == UNKNOWN
    with bind_request_context(RequestContext("req_1", GOOD), job_id="job_1"):
        assert current() == RequestContext("req_1", GOOD)
        assert structlog.contextvars.get_contextvars() == {"request_id": "req_1", "trace_id": TRACE, "job_id": "job_1"}
    assert current() == UNKNOWN
    assert structlog.contextvars.get_contextvars() == {}


def test_unknown_ids_are_omitted() -> None:
    with bind_request_context(UNKNOWN):
        assert structlog.contextvars.get_contextvars() == {}
    assert (UNKNOWN.texts, UNKNOWN.trace_id) == ({}, None)
    assert RequestContext("req_1").texts == {"request_id": "req_1"}
