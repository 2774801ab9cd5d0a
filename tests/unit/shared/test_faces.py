"""Comparing embeddings: cosine for any usable pair, a clear refusal for every other."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.errors import EmbeddingError, ErrorCode
from shared.faces import MAX_DIMENSIONS, checked_vector, cosine

numbers = st.floats(min_value=-100, max_value=100, allow_nan=False)
pairs = st.integers(1, 64).flatmap(
    lambda size: st.tuples(
        st.lists(numbers, min_size=size, max_size=size), st.lists(numbers, min_size=size, max_size=size)
    )
)


def usable(vector: list[float]) -> bool:
    return math.hypot(*vector) > 1e-3


def test_parallel_vectors_have_cosine_one_whatever_their_length() -> None:
    assert cosine([3.0, 4.0], [30.0, 40.0]) == pytest.approx(1.0)


def test_orthogonal_vectors_have_cosine_zero() -> None:
    assert cosine([1.0, 0.0], [0.0, 5.0]) == 0.0


def test_opposite_vectors_have_cosine_minus_one() -> None:
    assert cosine([1.0, 2.0], [-2.0, -4.0]) == pytest.approx(-1.0)


@given(pairs)
def test_cosine_is_symmetric_and_stays_in_its_range(pair: tuple[list[float], list[float]]) -> None:
    first, second = pair
    assume(usable(first) and usable(second))
    value = cosine(first, second)
    assert -1.0 <= value <= 1.0
    assert value == pytest.approx(cosine(second, first), abs=1e-12)


@given(pairs, st.floats(min_value=0.01, max_value=100))
def test_cosine_does_not_mind_scale(pair: tuple[list[float], list[float]], scale: float) -> None:
    first, second = pair
    assume(usable(first) and usable(second))
    assert cosine([x * scale for x in first], second) == pytest.approx(cosine(first, second), abs=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1.0, 2.0], [1.0]),
        ([], []),
        ([0.0, 0.0], [1.0, 2.0]),
        ([1.0, 2.0], [0.0, 0.0]),
        ([math.nan, 1.0], [1.0, 2.0]),
        ([1.0, 2.0], [math.inf, 1.0]),
        ([1e200, 1e300], [1.0, -math.inf]),
        ([1.7e308] * 4, [1.0] * 4),
        ([1e-9, 0.0], [1.0, 0.0]),
        ([1.0] * (MAX_DIMENSIONS + 1), [1.0] * (MAX_DIMENSIONS + 1)),
    ],
    ids=["lengths", "empty", "zero", "zero second", "nan", "inf", "-inf", "overflow", "tiny", "too long"],
)
def test_what_cannot_be_compared_is_an_invalid_embedding(first: list[float], second: list[float]) -> None:
    with pytest.raises(EmbeddingError) as caught:
        cosine(first, second)
    assert caught.value.code is ErrorCode.INVALID_EMBEDDING


def test_a_refusal_names_the_vector_and_repeats_no_number() -> None:
    with pytest.raises(EmbeddingError) as caught:
        checked_vector([123.456, math.nan], name="embedding2")
    assert "embedding2" in caught.value.detail
    assert "123.456" not in caught.value.detail
