"""The request bodies of liveness sessions for the OpenAPI document: they are read by hand."""

from typing import Any, Final

from api.openapi import FILE, IMAGE_TYPES, REF
from api.session_schemas import SessionRequest

SESSION_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {"$ref": REF.format(model=SessionRequest.__name__)},
                "examples": {
                    "as it is": {"value": {}},
                    "two turns": {
                        "value": {"movements": 2, "kinds": ["turn_left", "turn_right"], "metadata": {"case": "A-17"}}
                    },
                },
            }
        },
    }
}
FRAME_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image", "sequence", "taken_at"],
                    "additionalProperties": False,
                    "properties": {
                        "image": FILE,
                        "sequence": {
                            "type": "integer",
                            "minimum": 0,
                            "maximum": 2**53 - 1,
                            "description": "Number of the picture; each greater than the one before.",
                        },
                        "taken_at": {
                            "type": "number",
                            "minimum": 0,
                            "description": "When it was taken: milliseconds of a clock of the client's that only goes "
                            "forward, such as `performance.now()`.",
                        },
                    },
                },
                "encoding": {"image": IMAGE_TYPES},
            }
        },
    }
}
