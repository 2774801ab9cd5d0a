"""Base class of JSON objects that callers send: a null counts as an omitted field."""

import json
from typing import Any

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from shared.faces import Strict


class Submitted(Strict):
    """An object sent by a caller. Serializers in many languages write null for unset fields."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, document: Any) -> Any:
        if not isinstance(document, dict) or None not in document.values():
            return document
        fields = cls.model_fields
        return {
            name: value
            for name, value in document.items()
            if value is not None or name not in fields or fields[name].is_required()
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema for callers: optional fields may be null, and defaults are stated in descriptions.

        Code generators take a `default` as a reason to require the field or to always send it.
        """
        described: dict[str, Any] = handler(core)
        schema = handler.resolve_ref_schema(described)
        required = schema.get("required", ())
        for name, field in schema.get("properties", {}).items():
            if name not in required:
                schema["properties"][name] = nullable(_without_default(field))
        return described


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema with null allowed. Title, description and examples stay outside the alternatives."""
    null = {"type": "null"}
    if null in schema.get("anyOf", ()):
        return schema
    outside: dict[str, Any] = {key: schema[key] for key in ("title", "description", "examples") if key in schema}
    inside = {key: value for key, value in schema.items() if key not in outside}
    alternatives = inside["anyOf"] if inside.keys() == {"anyOf"} else [inside]
    return {"anyOf": [*alternatives, null], **outside}


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in schema.items() if key != "default"}
    default = schema.get("default")
    if default is None or isinstance(default, dict):
        return plain
    sentence = f"Default: `{json.dumps(default)}`."
    return plain | {"description": f"{schema['description']} {sentence}" if "description" in schema else sentence}
