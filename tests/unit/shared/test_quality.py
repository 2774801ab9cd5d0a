"""Quality profiles, and individual limits that override them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.quality import PROFILES, Profile, QualityLimits, QualityPolicy

SCORE = 0.65
LENGTH = 2.8


@pytest.mark.parametrize("limit", QualityLimits.model_fields)
def test_strict_is_never_looser_than_standard(limit: str) -> None:
    standard, strict = (
        getattr(QualityPolicy(profile=profile).effective(register_score=SCORE, register_length=LENGTH), limit)
        for profile in ("standard", "strict")
    )
    if standard is not None:
        assert strict is not None
        assert strict <= standard if limit.startswith("max_") else strict >= standard


def test_the_detection_score_comes_from_the_pack_and_strict_adds_to_it() -> None:
    assert [
        QualityPolicy(profile=profile).effective(register_score=SCORE).min_detection_score for profile in PROFILES
    ] == [None, 0.65, pytest.approx(0.7)]


def test_the_embedding_length_comes_from_the_pack_and_strict_adds_to_it() -> None:
    def limit(profile: Profile, length: float | None = LENGTH) -> float | None:
        policy = QualityPolicy(profile=profile)
        return policy.effective(register_score=SCORE, register_length=length).min_embedding_length

    assert [limit(profile) for profile in PROFILES] == [None, 2.8, pytest.approx(3.08)]
    assert [limit(profile, None) for profile in PROFILES] == [None] * 3


def test_an_individual_limit_replaces_the_packs_embedding_length() -> None:
    policy = QualityPolicy(limits=QualityLimits(min_embedding_length=0))
    assert policy.effective(register_score=SCORE, register_length=LENGTH).min_embedding_length == 0


def test_off_checks_nothing() -> None:
    policy = QualityPolicy(profile="off")
    assert policy.effective(register_score=SCORE, register_length=LENGTH) == QualityLimits()


def test_an_individual_limit_overrides_only_its_own_in_the_profile() -> None:
    policy = QualityPolicy(profile="strict", limits=QualityLimits(max_yaw=45, min_detection_score=0.1))
    limits = policy.effective(register_score=SCORE)
    assert (limits.max_yaw, limits.min_detection_score) == (45, 0.1)
    assert limits.max_roll == PROFILES["strict"].max_roll


def test_a_request_without_limits_gets_the_policy() -> None:
    policy = QualityPolicy(profile="strict", limits=QualityLimits(max_yaw=45))
    assert policy.for_request(None, QualityLimits()) == policy


def test_individual_limits_of_a_request_override_the_policy() -> None:
    policy = QualityPolicy(profile="strict", limits=QualityLimits(max_yaw=45, max_roll=40))
    merged = policy.for_request(None, QualityLimits(max_yaw=10))
    assert merged == QualityPolicy(profile="strict", limits=QualityLimits(max_yaw=10, max_roll=40))


@given(profile=st.sampled_from(["off", "standard", "strict"]))
def test_a_profile_in_a_request_replaces_the_whole_policy(profile: Profile) -> None:
    policy = QualityPolicy(profile="strict", limits=QualityLimits(max_yaw=45))
    assert policy.for_request(profile, QualityLimits(max_roll=5)) == QualityPolicy(
        profile=profile, limits=QualityLimits(max_roll=5)
    )


@pytest.mark.parametrize("wrong", [{"max_yaw": 91}, {"min_inside": 1.1}, {"surprise": 1}, {"min_sharpness": -1}])
def test_an_invalid_limit_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        QualityLimits.model_validate(wrong)
