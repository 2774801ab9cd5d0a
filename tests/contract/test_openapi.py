"""The OpenAPI document: valid, complete, and changed only on purpose."""

from collections.abc import Iterator
from typing import Any

from fastapi.routing import iter_route_contexts
from openapi_spec_validator import validate

from api.app import create_app
from api.http.problems import MEDIA_TYPE, TABLE
from api.settings.api import ApiSettings
from shared.errors import ErrorCode
from shared.operations import PARAMS, SUBMITTABLE
from shared.tenants import Scope
from tests.contract.snapshot import agreed, served

DOCUMENT = agreed()
FRAMES = "POST /v1/liveness-sessions/{session_id}/frames"
"""Called by clients with a session token."""
PUBLIC = {"GET /", "GET /health", "GET /livez", "GET /readyz", FRAMES}


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


OPERATIONS = dict(operations())
OWN_ANSWERS = {("GET /health", "503"), ("GET /readyz", "503")}
"""Refusals in the same form as the success: monitoring looks only at the status."""


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def codes(operation: dict[str, Any]) -> set[str]:
    return {
        code
        for response in operation["responses"].values()
        for code in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    }


def test_the_document_matches_the_agreed_one() -> None:
    assert served() == agreed(), "review the change, then run: python -m tests.contract.snapshot"


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)


def test_every_reference_resolves() -> None:
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(references(DOCUMENT)) <= known


def test_every_schema_is_used() -> None:
    used = set(references(DOCUMENT))
    assert {name for name in DOCUMENT["components"]["schemas"] if f"#/components/schemas/{name}" not in used} == set()


def responses() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, operation in OPERATIONS.items():
        for status, response in operation["responses"].items():
            yield name, status, response


def test_every_call_has_a_summary_a_description_and_a_tag() -> None:
    for name, operation in OPERATIONS.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name


def test_every_error_response_is_a_problem() -> None:
    for name, status, response in responses():
        if int(status) >= 400 and (name, status) not in OWN_ANSWERS:
            assert list(response["content"]) == [MEDIA_TYPE], (name, status)
            assert response["content"][MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/Problem"}, (name, status)


def test_every_documented_code_is_listed_under_its_own_status() -> None:
    for name, status, response in responses():
        for code in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {}):
            assert TABLE[ErrorCode(code)].status == int(status), name


def test_every_call_names_its_required_scope_or_is_public() -> None:
    for name, operation in OPERATIONS.items():
        security = operation["security"]  # a route without a scope has none
        for way in security:
            assert way.keys() <= DOCUMENT["components"]["securitySchemes"].keys(), name
            assert {scope for scopes in way.values() for scope in scopes} & set(Scope), name
        assert ({"401", "403", "429"} <= operation["responses"].keys()) == (bool(security) or name == FRAMES), name


def test_nothing_that_belongs_to_a_tenant_is_public() -> None:
    public = {name for name, operation in OPERATIONS.items() if operation["security"] == []}
    assert public == PUBLIC


def test_every_route_outside_the_document_is_known() -> None:
    routes = iter_route_contexts(create_app(ApiSettings()).routes)
    hidden = {route.path for route in routes if not getattr(route, "include_in_schema", False)}
    assert hidden == {"/docs", "/docs/assets", "/openapi.json"}


def test_every_error_code_is_documented_at_some_call() -> None:
    framework = {"not_found", "method_not_allowed"}  # they belong to no call
    framework |= {"malformed_request", "headers_too_large", "host_refused", "cors_refused"}
    # No call answers with such a job failure.
    of_jobs = {"attribute_unavailable", "calibration_unavailable", "fmr_out_of_range", "image_unreachable"}
    documented = {code for operation in OPERATIONS.values() for code in codes(operation)}
    assert documented | framework | of_jobs == {code.value for code in ErrorCode}


def test_jobs_accept_a_form_and_json_with_examples() -> None:
    content = OPERATIONS["POST /v1/jobs"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    assert all(part["examples"] for part in content.values())


def test_the_form_and_the_json_of_a_job_have_the_same_fields() -> None:
    form = DOCUMENT["components"]["schemas"]["JobForm"]
    model = DOCUMENT["components"]["schemas"]["JobSubmission"]
    # in JSON a URL is image: {"url": ...}, and several images, repeated fields in a form, are a separate list
    assert set(form["properties"]) - {"image_url"} == set(model["properties"]) - {"images"}
    assert set(form["required"]) == set(model["required"])


def test_every_parameter_of_every_operation_is_described() -> None:
    params = DOCUMENT["components"]["schemas"]["JobSubmission"]["properties"]["params"]
    named = {reference.rsplit("/", 1)[1] for reference in references(params)}
    assert named == {PARAMS[operation].__name__ for operation in SUBMITTABLE}
    assert all(f"`{operation}`" in params["description"] for operation in SUBMITTABLE)
