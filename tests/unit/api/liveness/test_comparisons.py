"""Liveness sessions compare references and frames only within one embedding contract."""

import pytest

from api.liveness.challenge import memory_of, progress_of
from shared.liveness_sessions import Reason, Step
from tests.heads import CONTRACT, Head, result, vector
from tests.unit.api.liveness.test_session_judge import PASSED, begun, failed
from tests.unit.api.performing import Performance, ended, honest, session


def test_only_the_person_of_the_reference_passes() -> None:
    right = Performance(session(Step.TURN_LEFT, reference=vector(3, 999)))
    right.show_all(honest(right.session.steps, Head(person=3)))
    assert ended(right) == PASSED
    assert "reference_similarity" in {each.name for each in progress_of(right.session).done[0].evidence}
    wrong = Performance(session(Step.TURN_LEFT, reference=vector(3, 999)))
    head = Head(person=4)
    for _ in range(3):
        wrong.show(result(head := head.posed()))
    assert ended(wrong) == failed(Reason.NOT_THE_REFERENCE)


@pytest.mark.parametrize("reference", [[0.5] * 3])
def test_reference_of_another_dimension_does_not_match(reference: list[float]) -> None:
    performance, head = Performance(session(Step.TURN_LEFT, reference=reference)), Head()
    for _ in range(3):
        performance.show(result(head := head.posed()))
    assert ended(performance) == failed(Reason.NOT_THE_REFERENCE)


@pytest.mark.parametrize("pose", [{}, {"yaw": 60.0}], ids=["same face", "no straight face yet"])
def test_a_reference_of_another_contract_is_not_compared(pose: dict[str, float]) -> None:
    performance = Performance(session(Step.TURN_LEFT, reference=vector(3, 999), contract="contract-b"))
    performance.show(result(Head(person=3).posed(**pose)))
    assert ended(performance) == failed(Reason.EMBEDDING_CONTRACT_MISMATCH)


def test_a_reference_of_the_same_contract_is_compared() -> None:
    performance = Performance(session(Step.TURN_LEFT, reference=vector(3, 999), contract=CONTRACT))
    performance.show_all(honest(performance.session.steps, Head(person=3)))
    assert ended(performance) == PASSED


def test_a_frame_of_another_contract_is_not_compared_with_the_first() -> None:
    performance, head = begun(Step.TURN_LEFT)
    performance.show(result(head.posed(yaw=10.0), contract="contract-b"))
    assert ended(performance) == failed(Reason.EMBEDDING_CONTRACT_MISMATCH)


def test_reference_without_contract_takes_that_of_the_first_face() -> None:
    performance, head = Performance(session(Step.TURN_LEFT, reference=vector(3, 999))), Head(person=3)
    performance.show(result(head))
    assert memory_of(performance.session).contract == CONTRACT
