"""The OpenAPI document is plain enough for client generators: it avoids the constructs that they fail on."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.snapshot import agreed

DOCUMENT = agreed()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
COMBINING = {"oneOf", "anyOf", "allOf", "not", "if"}
FORMS = {
    "POST /v1/jobs": "JobForm",
    "POST /v1/batches": "BatchForm",
    "POST /v1/liveness-sessions/{session_id}/frames": "FrameForm",
    "POST /detect": "ImageForm",
    "POST /extract-embedding": "ImageForm",
    "POST /liveness": "ImageForm",
    "POST /verify": "VerifyForm",
    "POST /register": "RegisterForm",
}
BOTH = {"POST /v1/jobs", "POST /v1/batches"}
"""Calls that accept a form or JSON."""
RESULTS = {"Recognisability"}
"""Parts of a result that may be sent back unchanged."""


def nodes(node: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        yield place, node
        for key, value in node.items():
            yield from nodes(value, f"{place}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, f"{place}/{index}")


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if "requestBody" in operation:
                yield f"{method.upper()} {path}", operation["requestBody"]["content"]


BODIES = dict(bodies())


def reachable(name: str, seen: set[str]) -> set[str]:
    """The schemas that a schema refers to, itself included."""
    if name not in seen:
        seen.add(name)
        for _, node in nodes(SCHEMAS[name]):
            if isinstance(node.get("$ref"), str):
                reachable(node["$ref"].rsplit("/", 1)[1], seen)
    return seen


SENT: set[str] = set()
for content in BODIES.values():
    for part in content.values():
        for _, node in nodes(part["schema"]):
            if isinstance(node.get("$ref"), str):
                reachable(node["$ref"].rsplit("/", 1)[1], SENT)


def test_no_schema_combines_others_beside_properties() -> None:
    assert [place for place, node in nodes(DOCUMENT) if "properties" in node and COMBINING & node.keys()] == []


def test_every_object_with_properties_declares_its_type() -> None:
    schemas = [(place, node) for place, node in nodes(DOCUMENT) if isinstance(node.get("properties"), dict)]
    wrong = [place for place, node in schemas if node.get("type") != "object" and not place.endswith("/properties")]
    assert wrong == []


def test_every_array_has_items_and_every_tuple_a_length() -> None:
    arrays = [(place, node) for place, node in nodes(DOCUMENT) if node.get("type") == "array"]
    assert [place for place, node in arrays if not isinstance(node.get("items"), dict)] == []
    assert [place for place, node in nodes(DOCUMENT) if "prefixItems" in node] == []
    box = SCHEMAS["Face"]["properties"]["box"]
    assert (box["items"], box["minItems"], box["maxItems"]) == ({"type": "number"}, 4, 4)


def test_every_call_with_files_has_a_named_form() -> None:
    forms = {
        name: content["multipart/form-data"]["schema"]["$ref"].rsplit("/", 1)[1]
        for name, content in BODIES.items()
        if "multipart/form-data" in content
    }
    assert forms == FORMS
    assert {name for name, content in BODIES.items() if len(content) > 1} == BOTH


@pytest.mark.parametrize("form", sorted(set(FORMS.values())))
def test_a_form_is_a_plain_object_of_plain_fields(form: str) -> None:
    schema = SCHEMAS[form]
    assert schema["type"] == "object"
    for name, field in schema["properties"].items():
        assert "$ref" in field or field["type"] in {"string", "integer", "number", "array"}, name
    assert set(schema["required"]) <= schema["properties"].keys()


def test_every_body_refers_to_a_named_schema() -> None:
    for name, contents in BODIES.items():
        for content in contents.values():
            alternatives = [content["schema"], *content["schema"].get("anyOf", [])]
            assert any("$ref" in schema for schema in alternatives), name


def test_an_optional_field_may_be_null_and_has_no_default() -> None:
    for name in sorted(SENT - set(FORMS.values()) - RESULTS):
        required = SCHEMAS[name].get("required", [])
        for field, schema in SCHEMAS[name].get("properties", {}).items():
            assert "default" not in schema, (name, field)
            assert field in required or {"type": "null"} in schema.get("anyOf", []), (name, field)
