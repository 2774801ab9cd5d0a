"""Operations about one person choose the same face and say which other faces there were."""

from typing import Any

import pytest

from shared.operations import Operation
from shared.results import MAX_OTHER_FACES
from tests.unit.worker.operations.asking import PINK, TWO, WHITE, YELLOW, picture, run

PERSON = (140, 80, 260, 230)
BESIDE = picture((PERSON, WHITE), ((10, 20, 80, 110), PINK))
ONE_PERSON = [Operation.LIVENESS, Operation.VERIFY, Operation.REGISTER, Operation.FRAME]


def about(operation: Operation, image: Any, **params: Any) -> Any:
    reference = BESIDE if operation is Operation.VERIFY else None
    return run(operation, image, reference=reference, **params)


@pytest.mark.parametrize("operation", ONE_PERSON)
def test_a_bystander_does_not_refuse_the_job(operation: Operation) -> None:
    result = about(operation, BESIDE)
    assert result.face.box == PERSON
    assert [(other.box, other.reason) for other in result.other_faces] == [((10, 20, 80, 110), "less_prominent")]


@pytest.mark.parametrize("operation", ONE_PERSON)
def test_two_comparable_faces_refuse_and_are_both_listed(operation: Operation) -> None:
    result = about(operation, TWO)
    assert result.face is None
    assert result.num_faces == 2
    assert {other.reason for other in result.other_faces} == {"comparable"}
    assert len(result.other_faces) == 2


@pytest.mark.parametrize("operation", ONE_PERSON)
def test_all_refuses_any_second_face(operation: Operation) -> None:
    assert about(operation, BESIDE, select="all").face is None


def test_the_other_faces_of_the_reference_are_listed_too() -> None:
    result = about(Operation.VERIFY, picture((PERSON, WHITE)))
    assert result.verified
    assert result.other_faces == []
    assert [other.box for other in result.reference_other_faces] == [(10, 20, 80, 110)]


def test_each_image_of_a_registration_lists_its_other_faces() -> None:
    result = run(Operation.REGISTER, picture((PERSON, WHITE)), extra_images=[BESIDE])
    assert [len(image.other_faces) for image in result.images] == [0, 1]
    assert result.registered


def test_the_list_of_other_faces_is_bounded() -> None:
    crowd = [((x, y, x + 14, y + 14), YELLOW) for y in (0, 280) for x in range(0, 380, 20)]
    result = run(Operation.LIVENESS, picture((PERSON, WHITE), *crowd))
    assert result.liveness.outcome == "live"
    assert len(result.other_faces) == MAX_OTHER_FACES
    assert {other.reason for other in result.other_faces} == {"small"}


def test_other_faces_are_in_pixels_of_the_whole_image() -> None:
    half = picture((PERSON, WHITE), ((10, 20, 80, 110), PINK), fraction=2)
    assert run(Operation.LIVENESS, half).other_faces[0].box == (20, 40, 160, 220)


@pytest.mark.parametrize("operation", [Operation.DETECT, Operation.EMBED, Operation.ANALYZE])
def test_operations_about_every_face_answer_every_face(operation: Operation) -> None:
    assert len(run(operation, BESIDE).faces) == 2
    assert [face.box for face in run(operation, BESIDE, select="prominent").faces] == [PERSON]
    assert len(run(operation, TWO, select="prominent").faces) == 2
