"""What a thing is owed to: ids that are bound for a while, and headers that are taken where they are understood."""

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
"""The example of the specification."""


def test_the_header_of_the_specification_is_read() -> None:
    assert read_traceparent(GOOD) == GOOD
    assert RequestContext(traceparent=GOOD).trace_id == TRACE


def test_what_the_specification_forbids_or_we_do_not_understand_is_none() -> None:
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
def test_whatever_is_sent_is_taken_whole_or_not_at_all(text: str) -> None:
    assert read_traceparent(text) in {text, None}
    assert read_traceparent(text) is None or TRACEPARENT.fullmatch(text)


def test_a_cause_holds_for_its_block_and_names_the_lines_in_it() -> None:
    assert current() == UNKNOWN
    with bind_request_context(RequestContext("req_1", GOOD), job_id="job_1"):
        assert current() == RequestContext("req_1", GOOD)
        assert structlog.contextvars.get_contextvars() == {"request_id": "req_1", "trace_id": TRACE, "job_id": "job_1"}
    assert current() == UNKNOWN
    assert structlog.contextvars.get_contextvars() == {}


def test_what_is_not_known_is_named_by_nothing() -> None:
    with bind_request_context(UNKNOWN):
        assert structlog.contextvars.get_contextvars() == {}
    assert (UNKNOWN.texts, UNKNOWN.trace_id) == ({}, None)
    assert RequestContext("req_1").texts == {"request_id": "req_1"}
