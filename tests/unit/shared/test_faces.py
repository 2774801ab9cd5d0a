"""Comparison of embeddings: the cosine of any valid pair, and an error for any other."""

import math
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.errors import EmbeddingError, ErrorCode
from shared.faces import MAX_DIMENSIONS, MIN_NORM, checked_vector, cosine

numbers = st.floats(min_value=-100, max_value=100, allow_nan=False)
pairs = st.integers(1, 64).flatmap(
    lambda size: st.tuples(
        st.lists(numbers, min_size=size, max_size=size), st.lists(numbers, min_size=size, max_size=size)
    )
)


def usable(vector: list[float]) -> bool:
    return math.hypot(*vector) > 1e-3


def test_parallel_vectors_of_any_length_have_cosine_one() -> None:
    assert cosine([3.0, 4.0], [30.0, 40.0]) == pytest.approx(1.0)


def test_orthogonal_vectors_have_cosine_zero() -> None:
    assert cosine([1.0, 0.0], [0.0, 5.0]) == 0.0


def test_opposite_vectors_have_cosine_minus_one() -> None:
    assert cosine([1.0, 2.0], [-2.0, -4.0]) == pytest.approx(-1.0)


@given(pairs)
def test_cosine_is_symmetric_and_in_range(pair: tuple[list[float], list[float]]) -> None:
    first, second = pair
    assume(usable(first) and usable(second))
    value = cosine(first, second)
    assert -1.0 <= value <= 1.0
    assert value == pytest.approx(cosine(second, first), abs=1e-12)


@given(pairs, st.floats(min_value=0.01, max_value=100))
def test_cosine_is_independent_of_scale(pair: tuple[list[float], list[float]], scale: float) -> None:
    first, second = pair
    assume(usable(first) and usable(second))
    assert cosine([x * scale for x in first], second) == pytest.approx(cosine(first, second), abs=1e-9)


everything = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(*[st.lists(everything, min_size=n, max_size=n)] * 2)))
@example(([1e200, 0.0], [-1e200, 0.0]))
@example(([1.79e308] * 4, [1.79e308] * 4))
@example(([5e-324, 1.0], [5e-324, -1.0]))
def test_any_two_float64_vectors_give_the_exact_cosine_or_are_refused(pair: tuple[list[float], list[float]]) -> None:
    first, second = pair
    try:
        value = cosine(first, second)
    except EmbeddingError:
        assert not all(map(math.isfinite, first + second)) or min(math.hypot(*first), math.hypot(*second)) <= MIN_NORM
        return
    assert value == pytest.approx(exact_cosine(first, second), abs=1e-9)


def exact_cosine(first: list[float], second: list[float]) -> float:
    """The cosine in 60 decimal digits, whose exponents do not overflow."""
    with localcontext(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN):
        one, other = [Decimal(value) for value in first], [Decimal(value) for value in second]
        squares = sum(value * value for value in one) * sum(value * value for value in other)
        dot = sum((a * b for a, b in zip(one, other, strict=True)), Decimal(0))
        return float(dot / Decimal(squares).sqrt())


def test_opposite_huge_vectors_do_not_match() -> None:
    assert cosine([1e200, 0.0], [-1e200, 0.0]) == -1.0


def test_a_huge_component_does_not_match_by_overflow() -> None:
    crafted = [1.79e308] + [0.0] * 511
    embedding = [22.0 / math.sqrt(512)] * 512
    assert cosine(crafted, embedding) == pytest.approx(1 / math.sqrt(512))


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
        ([1e-9, 0.0], [1.0, 0.0]),
        ([1.0] * (MAX_DIMENSIONS + 1), [1.0] * (MAX_DIMENSIONS + 1)),
    ],
    ids=["lengths", "empty", "zero", "zero second", "nan", "inf", "-inf", "tiny", "too long"],
)
def test_vectors_that_cannot_be_compared_are_invalid_embeddings(first: list[float], second: list[float]) -> None:
    with pytest.raises(EmbeddingError) as caught:
        cosine(first, second)
    assert caught.value.code is ErrorCode.INVALID_EMBEDDING


def test_an_error_names_the_vector_without_its_values() -> None:
    with pytest.raises(EmbeddingError) as caught:
        checked_vector([123.456, math.nan], name="embedding2")
    assert "embedding2" in caught.value.detail
    assert "123.456" not in caught.value.detail
