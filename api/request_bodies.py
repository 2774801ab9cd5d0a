"""Request bodies in the OpenAPI document. The routes read them by hand, so the framework cannot describe them.

Every schema here is plain, because generators of clients stumble over what is not: an object has `properties` and
nothing beside them that combines schemas. Rules about several fields are stated in descriptions (ADR 0063).
"""

from typing import Any, Final

from api.batch_schemas import BatchSubmission
from api.classic_schemas import CompareRequest
from api.schemas import JobSubmission, WebhookSpec
from api.session_schemas import SessionRequest
from shared.jobs import Priority
from shared.operations import MAX_IMAGES, Operation

REF: Final = "#/components/schemas/{model}"
MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
FILE: Final[dict[str, Any]] = {
    "type": "string",
    "format": "binary",
    "description": "JPEG, PNG, WebP or BMP, by its content.",
}
IMAGE_TYPES: Final = {"contentType": "image/jpeg, image/png, image/webp, image/bmp"}
_JSON_TEXT: Final[dict[str, Any]] = {"type": "string", "contentMediaType": JSON}
_OPERATION: Final[dict[str, Any]] = {"$ref": REF.format(model=Operation.__name__)}
_PRIORITY: Final[dict[str, Any]] = {"$ref": REF.format(model=Priority.__name__)}
_BASE64: Final = {"base64": "/9j/4AAQSkZJRg=="}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _json_text(description: str, **more: Any) -> dict[str, Any]:
    return {**_JSON_TEXT, **more, "description": description}


def _webhook(description: str) -> dict[str, Any]:
    return _json_text(description, contentSchema={"$ref": REF.format(model=WebhookSpec.__name__)})


def _form(description: str, *required: str, strict: bool = True, **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "required": list(required),
        "properties": properties,
        **({"additionalProperties": False} if strict else {}),
    }


FORMS: Final[dict[str, dict[str, Any]]] = {
    "ImageForm": _form("The form of a classic call.", "file", strict=False, file=FILE),
    "VerifyForm": _form(
        "The form of `POST /verify`.",
        "file",
        strict=False,
        file=FILE,
        stored_embedding=_text("JSON array of numbers; without it the call embeds only."),
    ),
    "RegisterForm": _form(
        "The form of `POST /register`.",
        "file",
        strict=False,
        file=FILE,
        skip_liveness=_text(
            "`true` leaves the liveness check out. Accepted: `true`, `t`, `yes`, `y`, `on`, `1`, `false`, `f`, `no`, "
            "`n`, `off`, `0`, in either case. Default: `false`."
        ),
    ),
    "JobForm": _form(
        "The multipart form of `POST /v1/jobs`. Exactly one of `image` and `image_url` is required.",
        "operation",
        operation=_OPERATION,
        image=FILE
        | {
            "description": f"{FILE['description']} Repeat the field up to {MAX_IMAGES} times for `register`.",
        },
        image_url=_text(
            "In place of `image`: where the service fetches it, `https://` only; accepted where the operator has "
            "allowed the host."
        ),
        reference=FILE
        | {
            "description": "For `verify`: a second image file, or JSON text with its `url` or with an `embedding` (as "
            "a part of type `application/json`)."
        },
        params=_json_text("JSON object: the parameters of the operation."),
        metadata=_json_text("JSON object: yours, given back with the job."),
        priority=_PRIORITY,
        webhook=_webhook("JSON object: where the result is delivered, beside the registered endpoints."),
    ),
    "BatchForm": _form(
        "The multipart form of `POST /v1/batches`.",
        "images",
        images={"type": "array", "items": FILE, "minItems": 1, "description": "One file for each item."},
        operation=_OPERATION,
        params=_json_text("JSON object: the parameters of every item."),
        priority=_PRIORITY,
        metadata=_json_text("JSON object: yours, given back with the batch."),
        webhook=_webhook("JSON object: where the completion is reported."),
        items=_json_text(
            "JSON array with an object for each image, in their order: `operation`, `params`, `metadata`, `reference` "
            "of that item."
        ),
    ),
    "FrameForm": _form(
        "The form of a liveness session's frame.",
        "image",
        "sequence",
        "taken_at",
        image=FILE,
        sequence={
            "type": "integer",
            "minimum": 0,
            "description": "Number of the picture; each greater than the one before.",
        },
        taken_at={
            "type": "number",
            "minimum": 0,
            "description": "When it was taken: milliseconds of a clock of the client's that only goes forward, such as "
            "`performance.now()`.",
        },
    ),
}
"""The multipart forms, by the names of their schemas."""


def _multipart(name: str, *files: str, examples: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        MULTIPART: {
            "schema": {"$ref": REF.format(model=name)},
            "encoding": dict.fromkeys(files, IMAGE_TYPES),
            **({"examples": {title: {"value": value} for title, value in examples.items()}} if examples else {}),
        }
    }


def _json(model: type, examples: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        JSON: {
            "schema": {"$ref": REF.format(model=model.__name__)},
            **({"examples": {title: {"value": value} for title, value in examples.items()}} if examples else {}),
        }
    }


def _body(content: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": content}}


IMAGE_BODY: Final = _body(_multipart("ImageForm", "file"))
VERIFY_BODY: Final = _body(_multipart("VerifyForm", "file"))
REGISTER_BODY: Final = _body(_multipart("RegisterForm", "file"))
COMPARE_BODY: Final = _body(_json(CompareRequest))
FRAME_BODY: Final = _body(_multipart("FrameForm", "image"))
SESSION_BODY: Final = _body(
    _json(
        SessionRequest,
        {
            "as it is": {},
            "two turns": {"movements": 2, "kinds": ["turn_left", "turn_right"], "metadata": {"case": "A-17"}},
        },
    ),
    required=False,
)
JOB_BODY: Final = _body(
    _multipart(
        "JobForm",
        "image",
        examples={
            "detect": {"operation": "detect", "image": "(file)"},
            "verify against an embedding": {
                "operation": "verify",
                "image": "(file)",
                "reference": '{"embedding": {"vector": [0.0123, -0.0456], "contract": null}}',
            },
        },
    )
    | _json(
        JobSubmission,
        {
            "detect": {"operation": "detect", "image": _BASE64},
            "verify against an image": {
                "operation": "verify",
                "image": _BASE64,
                "reference": _BASE64,
                "params": {"threshold": 0.4},
                "metadata": {"case": "A-17"},
            },
        },
    )
)
BATCH_BODY: Final = _body(
    _multipart("BatchForm", "images", examples={"detect": {"operation": "detect", "images": ["(file)", "(file)"]}})
    | _json(
        BatchSubmission,
        {
            "detect": {
                "operation": "detect",
                "items": [
                    {"image": _BASE64, "metadata": {"row": 1}},
                    {"image": _BASE64, "params": {"max_faces": 1}},
                ],
            }
        },
    )
)
