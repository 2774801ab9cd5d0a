"""Building blocks for request bodies in the OpenAPI document.

The routes parse their bodies themselves, so the framework cannot describe them. Each feature declares its forms as
models and adds them to the document with `request_body`. Client generators fail on complex schemas, so an object has
`properties` and no schema combinators beside them. Rules that involve several fields are stated in descriptions
(ADR 0063).
"""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

REF: Final = "#/components/schemas/{model}"
MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
FILE_DESCRIPTION: Final = "JPEG, PNG, WebP, or BMP, detected from the content."
IMAGE_TYPES: Final = {"contentType": "image/jpeg, image/png, image/webp, image/bmp"}
BASE64_EXAMPLE: Final = "/9j/4AAQSkZJRg=="

File = Annotated[bytes, Field(description=FILE_DESCRIPTION)]
JsonText = Annotated[str, WithJsonSchema({"type": "string", "contentMediaType": JSON})]
"""A text field with JSON of any shape. For a known shape, use `Json[Model]`."""


def _without_null(schema: dict[str, Any]) -> None:
    """Remove null from optional fields: a form has no null, and a blank field counts as absent."""
    for name, field in schema["properties"].items():
        field.pop("default", None)
        if "anyOf" in field:
            only, _null = field.pop("anyOf")
            schema["properties"][name] = {**only, **field}


class FormSchema(BaseModel):
    """Base of the models that describe a multipart form and refuse unknown fields."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_null)


class LenientFormSchema(BaseModel):
    """Base of the models that describe a multipart form and ignore unknown fields."""

    model_config = ConfigDict(json_schema_extra=_without_null)


def multipart(form: type[BaseModel], *files: str, examples: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the content of a multipart body; `files` are the fields that take image files."""
    return {MULTIPART: {**_schema(form, examples), "encoding": dict.fromkeys(files, IMAGE_TYPES)}}


def json_body(model: type[BaseModel], examples: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the content of a JSON body."""
    return {JSON: _schema(model, examples)}


def request_body(*contents: dict[str, Any], required: bool = True) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that accepts a body in any of these forms."""
    return {
        "requestBody": {
            "required": required,
            "content": {kind: content for contents_of in contents for kind, content in contents_of.items()},
        }
    }


def _schema(model: type[BaseModel], examples: dict[str, Any] | None) -> dict[str, Any]:
    schema: dict[str, Any] = {"schema": {"$ref": REF.format(model=model.__name__)}}
    if examples:
        schema["examples"] = {title: {"value": value} for title, value in examples.items()}
    return schema
