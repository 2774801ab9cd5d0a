"""Limits on the bytes, heads and pieces of a response."""

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.net.response_limits import MOST_HEAD, MOST_INFORMATIONAL, PIECE, SPARE_PIECES, ResponseMeter

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
LARGE = 10**9


def counted(*reads: bytes, most: int = LARGE) -> None:
    meter = ResponseMeter(most=most)
    for read in reads:
        meter.count(read)


def refused(*reads: bytes, most: int = LARGE) -> str:
    with pytest.raises(httpcore.RemoteProtocolError) as error:
        counted(*reads, most=most)
    return str(error.value)


@given(st.lists(st.integers(1, 60), max_size=200), st.sampled_from([b"\r\n", b"\n"]), st.integers(0, 20))
def test_informational_responses_are_counted_wherever_reads_are_split(sizes: list[int], end: bytes, hints: int) -> None:
    data = (HINT * hints + FINAL).replace(b"\r\n", end)
    reads, at = [], 0
    for size in sizes:
        reads.append(data[at : at + size])
        at += size
    reads.append(data[at:])
    if hints > MOST_INFORMATIONAL:
        assert refused(*reads) == "too many informational responses"
    else:
        counted(*reads)


def test_blank_lines_in_a_body_do_not_count_as_heads() -> None:
    counted(FINAL + b"<p>\n\n" * 1000, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
    counted(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + HINT * 100)  # the client stops reading here


def test_an_endless_head_is_refused() -> None:
    assert refused(b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"x" * 1000] * 40) == "response head too large"
    long = b"HTTP/1.1 103 Early Hints\r\nX: " + b"x" * (MOST_HEAD // 4) + b"\r\n\r\n"
    assert refused(*[long] * 4) == "response head too large"


def test_the_size_of_the_whole_response_is_limited() -> None:
    counted(FINAL, b"x" * (1000 - len(FINAL)), most=1000)
    assert refused(FINAL, b"0\r\nTrailer: " + b"x" * 1000, most=1000) == "response too large"


def test_many_tiny_pieces_are_refused() -> None:
    counted(FINAL, *[b"x"] * (SPARE_PIECES - 1))
    assert refused(FINAL, *[b"x"] * (SPARE_PIECES + 1)) == "response in too many pieces"
    counted(FINAL, *[b"x" * PIECE] * 10_000)
