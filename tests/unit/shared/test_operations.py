"""Parameters are checked before a job is accepted, and the worker reads them as the gateway wrote them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import RequestError
from shared.operations import PARAMS, AnalyzeParams, Operation, parse_params

FOR_EVERY_OPERATION: list[dict[str, Any]] = [
    {"det_size": 64},
    {"det_size": 1920},
    {"det_size": [640]},
    {"det_size": [128, 640, 1280]},
    {"det_size": None},
    {"min_face_px": 0},
    {"min_face_px": 40.5},
    {"select": "all"},
    {"select": "prominent"},
    {"clamp_boxes": True},
    {"auto_orient": True},
    {"select": "largest"},
    {"select": "center"},
    {"max_faces": 1},
    {"det_threshold": 0.2},
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"det_size": 32}, "params.det_size.0"),
    ({"det_size": 1952}, "params.det_size.0"),
    ({"det_size": 650}, "params.det_size.0"),
    ({"det_size": 640.0}, "params.det_size.0"),
    ({"det_size": "640"}, "params.det_size.0"),
    ({"det_size": True}, "params.det_size.0"),
    ({"det_size": [100, 640]}, "params.det_size.0"),
    ({"det_size": [640, 480]}, "params.det_size"),
    ({"det_size": []}, "params.det_size"),
    ({"det_size": [64, 128, 256, 512]}, "params.det_size"),
    ({"min_face_px": -1}, "params.min_face_px"),
    ({"min_face_px": 70_000}, "params.min_face_px"),
    ({"min_face_px": "big"}, "params.min_face_px"),
    ({"select": "centre"}, "params.select"),
]


@pytest.mark.parametrize("operation", list(Operation))
def test_every_operation_accepts_detection_parameters(operation: Operation) -> None:
    for params in FOR_EVERY_OPERATION:
        parse_params(operation, params)


@pytest.mark.parametrize("operation", list(Operation))
def test_an_invalid_parameter_is_reported_once_by_name(operation: Operation) -> None:
    for params, field in WRONG:
        with pytest.raises(RequestError) as caught:
            parse_params(operation, params)
        assert [error.field for error in caught.value.fields] == [field], params


def test_sides_are_ascending_without_repeats() -> None:
    assert parse_params(Operation.DETECT, {"det_size": [128, 640, 640]}).det_size == (128, 640)
    assert parse_params(Operation.DETECT, {"det_size": [640, 640]}).det_size == (640,)
    assert parse_params(Operation.DETECT, {"det_size": 320}).det_size == (320,)


def test_a_width_and_height_in_det_size_get_an_explanation() -> None:
    with pytest.raises(RequestError) as caught:
        parse_params(Operation.DETECT, {"det_size": [640, 480]})
    detail = caught.value.fields[0].detail
    assert all(word in detail for word in ("square", "ascending", "multiple of 32", "not a width and a height"))


@pytest.mark.parametrize("operation", list(Operation))
def test_a_null_parameter_counts_as_omitted(operation: Operation) -> None:
    fields = PARAMS[operation].model_fields
    assert parse_params(operation, dict.fromkeys(fields)) == parse_params(operation, {})


def test_nested_nulls_count_as_omitted_unless_required() -> None:
    limits = {"quality_limits": {"max_yaw": None}, "known_embeddings": None, "quality": None}
    assert parse_params(Operation.REGISTER, limits) == parse_params(Operation.REGISTER, {})
    with pytest.raises(RequestError) as caught:
        parse_params(Operation.REGISTER, {"known_embeddings": [{"vector": None}]})
    assert [error.field for error in caught.value.fields] == ["params.known_embeddings.0.vector"]
    with pytest.raises(RequestError) as caught:
        parse_params(Operation.REGISTER, {"colour": None})
    assert [error.field for error in caught.value.fields] == ["params.colour"]


def test_only_analyze_accepts_attributes() -> None:
    raw = {"attributes": ["landmarks_68", "age_gender", "landmarks_68"]}
    params = parse_params(Operation.ANALYZE, raw)
    assert isinstance(params, AnalyzeParams)
    assert params.attributes == ("age_gender", "landmarks_68")
    with pytest.raises(RequestError):
        parse_params(Operation.EMBED, raw)


@pytest.mark.parametrize("fmr", [0, 1, -0.1, "often"])
def test_a_false_match_rate_is_a_share(fmr: Any) -> None:
    with pytest.raises(RequestError) as caught:
        parse_params(Operation.VERIFY, {"fmr": fmr})
    assert [error.field for error in caught.value.fields] == ["params.fmr"]


def test_a_threshold_and_a_false_match_rate_exclude_each_other() -> None:
    with pytest.raises(RequestError) as caught:
        parse_params(Operation.VERIFY, {"fmr": 0.001, "threshold": 0.4})
    assert [(error.field, error.detail) for error in caught.value.fields] == [
        ("params.fmr", "Give a threshold or a false-match rate, not both")
    ]
    parse_params(Operation.VERIFY, {"fmr": 0.001, "threshold": None})


@pytest.mark.parametrize("names", ["age_gender", ["age"], [None], [["age_gender"]]])
def test_unknown_attributes_are_refused(names: Any) -> None:
    with pytest.raises(RequestError) as caught:
        parse_params(Operation.ANALYZE, {"attributes": names})
    assert all(error.field.startswith("params.attributes") for error in caught.value.fields)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "det_size": st.lists(st.integers(2, 60).map(lambda n: 32 * n), min_size=1, max_size=3).map(sorted),
            "min_face_px": st.floats(0, 65_535),
            "select": st.sampled_from(["prominent", "all", "largest", "center"]),
            "attributes": st.lists(st.sampled_from(["age_gender", "landmarks_106", "landmarks_68"]), max_size=4),
        },
    )
)
def test_the_worker_reads_parameters_as_the_gateway_wrote_them(raw: dict[str, Any]) -> None:
    params = parse_params(Operation.ANALYZE, raw)
    written = params.model_dump(mode="json", exclude_none=True)
    assert parse_params(Operation.ANALYZE, written) == params
