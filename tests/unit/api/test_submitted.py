"""What callers send: a null counts as left out in every body, and its schema says so."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from api.admin.schemas import TenantSubmission
from api.batches.schemas import BatchSubmission
from api.jobs.schemas import JobSubmission
from api.liveness.schemas import SessionRequest
from api.webhooks.schemas import EndpointSubmission
from shared.submitted import Submitted, nullable

ROOTS = (JobSubmission, BatchSubmission, SessionRequest, EndpointSubmission, TenantSubmission)
"""One of each module, so that all are imported."""


def kinds(parent: type[Submitted] = Submitted) -> Iterator[type[Submitted]]:
    for kind in parent.__subclasses__():
        yield kind
        yield from kinds(kind)


OPTIONAL_ONLY = [kind for kind in kinds() if not any(field.is_required() for field in kind.model_fields.values())]
CHOICES = {"ImageSource", "ReferenceSource", "SessionReference"}
"""Need one of their optional fields."""


def described_fields() -> Iterator[tuple[str, FieldInfo, dict[str, Any]]]:
    """Each field by its full name, with its schema."""
    for kind in kinds():
        schema = kind.model_json_schema()
        own = schema["$defs"][kind.__name__] if "$ref" in schema else schema
        for name, field in kind.model_fields.items():
            yield f"{kind.__name__}.{name}", field, own["properties"][name]


def test_a_body_of_nulls_is_an_empty_body() -> None:
    for kind in OPTIONAL_ONLY:
        if kind.__name__ not in CHOICES:
            assert kind.model_validate(dict.fromkeys(kind.model_fields)) == kind.model_validate({})


def test_the_schema_allows_null_exactly_where_a_field_may_be_left_out() -> None:
    for name, field, schema in described_fields():
        assert ({"type": "null"} in schema.get("anyOf", [])) is not field.is_required(), name


def test_defaults_are_told_in_descriptions_alone() -> None:
    for name, field, schema in described_fields():
        assert "default" not in schema, name
        if isinstance(field.default, bool | int | float):
            assert "Default: `" in schema["description"], name


def test_every_module_of_bodies_has_some() -> None:
    modules = {kind.__module__ for kind in kinds()}
    assert {root.__module__ for root in ROOTS} <= modules


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"$ref": "#/x", "title": "A"}, {"anyOf": [{"$ref": "#/x"}, {"type": "null"}], "title": "A"}),
        ({"anyOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"anyOf": [{"type": "null"}], "title": "A"}, {"anyOf": [{"type": "null"}], "title": "A"}),
    ],
)
def test_null_is_one_more_alternative(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert nullable(schema) == expected
