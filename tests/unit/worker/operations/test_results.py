"""Results go to the gateway as JSON and mean the same there; parameters are checked before they reach an engine."""

import json

import pytest

from shared.operations import FindParams, Operation, RegisterParams
from shared.results import RESULT
from tests.unit.worker.operations.asking import ONE, Gifted, no_clock, run
from worker import operations
from worker.engine.fake import FakeEngine
from worker.operations import Work, min_long_side


@pytest.mark.parametrize("operation", list(Operation))
def test_every_result_survives_the_journey_as_json(operation: Operation) -> None:
    reference = ONE if operation is Operation.VERIFY else None
    result = run(operation, ONE, reference=reference)
    assert RESULT.validate_python(json.loads(json.dumps(result.model_dump(mode="json")))) == result


def test_attributes_survive_the_journey_as_json() -> None:
    result = run(Operation.ANALYZE, ONE, engine=Gifted())
    assert RESULT.validate_json(json.dumps(result.model_dump(mode="json"))) == result


def test_parameters_of_another_operation_are_a_bug_and_not_a_result() -> None:
    work = Work(engine=FakeEngine(), clock=no_clock, image=ONE)
    with pytest.raises(TypeError, match="VerifyParams"):
        operations.run(Operation.VERIFY, RegisterParams(), work)


def test_pictures_are_read_at_two_and_a_half_times_the_detector_side() -> None:
    info = FakeEngine().info
    assert min_long_side(FindParams(), info) == 1600
    assert min_long_side(FindParams(det_size=(320, 960)), info) == 2400
    assert min_long_side(FindParams(det_size=(320,), full_size=True), info) is None
