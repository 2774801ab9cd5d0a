"""Which of several embeddings are one person, and what stands for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import EmbeddingError, ErrorCode, JobError, VultusError
from shared.faces import Embedding, Recognisability, cosine
from shared.operations import ReferenceEmbedding
from worker.engine.fake import FakeEngine
from worker.operations.comparing import agreement, checked, similarities, template

INFO = FakeEngine().info


def at(degrees: float, *, length: float = 3.0) -> Embedding:
    """A unit vector in the plane."""
    angle = np.radians(degrees)
    return Embedding(vector=[float(np.cos(angle)), float(np.sin(angle))], length=length, contract="c")


@pytest.mark.parametrize(
    ("angles", "members"),
    [
        ((0, 10), (True, True)),
        ((0, 90), (False, False)),
        ((0, 10, 90), (True, True, False)),
        ((90, 0, 10), (False, True, True)),
        ((0, 90, 180), (False, False, False)),
        ((0, 10, 180, 190), (False, False, False, False)),
        ((0, 50, 100), (True, True, True)),
        ((0, 5, 10, 15, 180), (True, True, True, True, False)),
    ],
)
def test_members_match_the_embedding_that_most_others_match(
    angles: tuple[float, ...], members: tuple[bool, ...]
) -> None:
    assert agreement([at(angle) for angle in angles], match=0.5).members == members


def test_similarities_refer_to_that_embedding() -> None:
    agreed = agreement([at(0), at(10), at(100)], match=0.5)
    assert agreed.similarities == pytest.approx(
        (np.cos(np.radians(10)), np.cos(np.radians(10)), np.cos(np.radians(90))), abs=1e-9
    )


@given(angles=st.lists(st.floats(0, 360), min_size=2, max_size=5), match=st.floats(0.1, 0.9))
def test_members_are_a_majority_or_none(angles: list[float], match: float) -> None:
    agreed = agreement([at(angle) for angle in angles], match=match)
    assert sum(agreed.members) == 0 or 2 * sum(agreed.members) > len(angles)
    together = zip(agreed.similarities, agreed.members, strict=True)
    assert all(similarity > match for similarity, member in together if member)


def scored(degrees: float, score: float | None, *, recognisable: bool = True) -> Embedding:
    verdict = Recognisability(recognisable=recognisable, score=score)
    return at(degrees).model_copy(update={"recognisability": verdict})


def test_the_template_is_the_mean_direction_and_the_mean_length() -> None:
    made = template([at(0, length=3.0), at(60, length=3.0)])
    assert made.vector == pytest.approx(at(30).vector)
    assert (made.length, made.contract, made.recognisability) == (3.0, "c", None)


def test_a_template_leans_to_the_image_with_the_longer_raw_embedding() -> None:
    made = template([at(0, length=2.0), at(90, length=4.0)])
    assert made.vector == pytest.approx([1 / 5**0.5, 2 / 5**0.5])
    assert made.length == 3.0


def test_a_template_leans_to_the_image_that_can_be_recognised_better() -> None:
    made = template([scored(0, 0.4), scored(90, 0.8)])
    assert made.vector == pytest.approx([1 / 5**0.5, 2 / 5**0.5])
    assert made.recognisability == Recognisability(recognisable=True, score=0.6)


@pytest.mark.parametrize("other", [at(20), scored(20, 0.2, recognisable=False)])
def test_a_template_has_no_verdict_unless_every_image_can_be_recognised(other: Embedding) -> None:
    assert template([scored(0, 0.9), other]).recognisability is None


def test_a_template_needs_scores_and_zero_counts_as_one() -> None:
    assert template([scored(0, None), scored(20, None)]).recognisability == Recognisability(recognisable=True)
    assert template([scored(0, 0.0), scored(60, 0.0)]).vector == pytest.approx(at(30).vector)


def test_the_template_of_one_is_itself() -> None:
    assert template([at(17)]) == at(17)


def test_embeddings_that_cancel_out_have_no_template() -> None:
    opposite = [Embedding(vector=[sign, 0.0], length=1.0, contract="c") for sign in (1.0, -1.0)]
    with pytest.raises(JobError, match="cancel"):
        template(opposite)


@pytest.mark.parametrize(
    ("reference", "code", "kind"),
    [
        (ReferenceEmbedding(vector=[1.0] * 512, contract="other"), ErrorCode.EMBEDDING_CONTRACT_MISMATCH, JobError),
        (ReferenceEmbedding(vector=[1.0] * 511), ErrorCode.INVALID_EMBEDDING, JobError),
        (ReferenceEmbedding(vector=[0.0] * 512), ErrorCode.INVALID_EMBEDDING, EmbeddingError),
    ],
)
def test_an_embedding_that_cannot_be_compared_is_named(
    reference: ReferenceEmbedding, code: ErrorCode, kind: type[VultusError]
) -> None:
    with pytest.raises(kind, match="Known embedding 3") as caught:
        checked(reference, INFO, name="Known embedding 3")
    assert caught.value.code == code


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_similarities_equal_the_cosines_to_the_bit(scale: float) -> None:
    probe, *known = np.random.default_rng(7).normal(scale=scale, size=(9, 512)).tolist()
    embedding = Embedding(vector=probe, length=1.0, contract=INFO.contract)
    units = [checked(ReferenceEmbedding(vector=vector), INFO, name="Known embedding") for vector in [*known, probe]]
    assert similarities(embedding, units) == [cosine(probe, vector) for vector in [*known, probe]]
