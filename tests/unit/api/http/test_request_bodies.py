"""Forms in the OpenAPI document: the fields that the gateway reads, in schemas that client generators can use."""

from typing import Any

import pytest
from pydantic import BaseModel, Json

from api.batches import submit
from api.batches.schemas import BatchForm
from api.classic import routes as classic_routes
from api.classic.schemas import ImageForm, RegisterForm, VerifyForm
from api.http.forms import FormFields
from api.http.request_bodies import File, FormSchema, JsonText
from api.jobs import parsing
from api.jobs.forms import JobForm
from api.liveness import routes as liveness_routes
from api.liveness.schemas import FrameForm

FILE = {"type": "string", "format": "binary"}


def fields(*forms: type[BaseModel]) -> dict[str, dict[str, Any]]:
    return {name: field for form in forms for name, field in form.model_json_schema()["properties"].items()}


def is_file(field: dict[str, Any]) -> bool:
    kind: dict[str, Any] = field.get("items", field)
    return FILE.items() <= kind.items()


@pytest.mark.parametrize(
    ("forms", "read"),
    [
        ((JobForm,), parsing.FORM_FIELDS),
        ((BatchForm,), submit.FORM_FIELDS),
        ((FrameForm,), liveness_routes.FRAME_FIELDS),
        ((ImageForm, VerifyForm, RegisterForm), classic_routes.FORM_FIELDS),
    ],
)
def test_the_documented_fields_are_the_parsed_fields(forms: tuple[type[BaseModel], ...], read: FormFields) -> None:
    documented = fields(*forms)
    assert documented.keys() == read.known
    assert {name for name, field in documented.items() if is_file(field)} == read.files | read.either
    assert {form.model_config.get("extra") == "forbid" for form in forms} == {not read.ignore_unknown}


class Shape(BaseModel):
    number: int


class Example(FormSchema):
    """An example."""

    file: File
    optional: File | None = None
    text: str | None = None
    free: JsonText | None = None
    shaped: Json[Shape] | None = None


def test_optional_fields_are_described_by_their_type_alone() -> None:
    schema = Example.model_json_schema(ref_template="#/{model}")
    described = {name: {**field, "title": None, "description": None} for name, field in schema["properties"].items()}
    plain = {"title": None, "description": None}
    assert schema["required"] == ["file"]
    assert schema["additionalProperties"] is False
    assert described == {
        "file": FILE | plain,
        "optional": FILE | plain,
        "text": {"type": "string"} | plain,
        "free": {"type": "string", "contentMediaType": "application/json"} | plain,
        "shaped": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/Shape"},
        }
        | plain,
    }
