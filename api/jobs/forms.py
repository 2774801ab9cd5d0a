"""The request body of `POST /v1/jobs` in the OpenAPI document."""

from typing import Any, Final

from pydantic import BaseModel, Field, Json

from api.http.request_bodies import (
    BASE64_EXAMPLE,
    FILE_DESCRIPTION,
    REF,
    File,
    FormSchema,
    JsonText,
    json_body,
    multipart,
    request_body,
)
from api.jobs.schemas import JobBody, JobSubmission, TransitionEvent, WebhookSpec
from shared.jobs import Priority
from shared.operations import MAX_IMAGES, PARAMS, SUBMITTABLE, Operation


class JobForm(FormSchema):
    """The multipart form of `POST /v1/jobs`. Exactly one of `image` and `image_url` is required."""

    operation: Operation
    image: File | None = Field(
        default=None,
        description=f"{FILE_DESCRIPTION} Repeat the field up to {MAX_IMAGES} times for `register`.",
    )
    image_url: str | None = Field(
        default=None,
        description="URL to fetch the image from, instead of `image`. Must be `https://`, and the operator must have "
        "allowed the host.",
    )
    reference: File | None = Field(
        default=None,
        description="For `verify`: a second image file, or JSON text with a `url` or an `embedding` (as a part of type "
        "`application/json`).",
    )
    params: JsonText | None = Field(default=None, description="JSON object with the parameters of the operation.")
    metadata: JsonText | None = Field(default=None, description="JSON object of your own, returned with the job.")
    priority: Priority | None = None
    webhook: Json[WebhookSpec] | None = Field(
        default=None, description="JSON object: where to deliver the result, in addition to the registered endpoints."
    )


JOB_BODY: Final = request_body(
    multipart(
        JobForm,
        "image",
        examples={
            "detect": {"operation": "detect", "image": "(file)"},
            "verify against an embedding": {
                "operation": "verify",
                "image": "(file)",
                "reference": '{"embedding": {"vector": [0.0123, -0.0456], "contract": null}}',
            },
        },
    ),
    json_body(
        JobSubmission,
        {
            "detect": {"operation": "detect", "image": {"base64": BASE64_EXAMPLE}},
            "verify against an image": {
                "operation": "verify",
                "image": {"base64": BASE64_EXAMPLE},
                "reference": {"base64": BASE64_EXAMPLE},
                "params": {"threshold": 0.4},
                "metadata": {"case": "A-17"},
            },
        },
    ),
)
_PARAMS: Final = tuple(PARAMS[operation] for operation in SUBMITTABLE)
DOCUMENTED: Final[tuple[type[BaseModel], ...]] = (JobForm, JobSubmission, JobBody, TransitionEvent, *_PARAMS)
"""Models that only hand-written parts of the document refer to."""


def describe_params(schemas: dict[str, Any]) -> None:
    """Document which parameters each operation takes: the model is parsed before the operation is known."""
    # A request passes the embedding in `reference`; the parameter is how the worker receives it.
    schemas["VerifyParams"]["properties"].pop("reference_embedding")
    schemas["JobSubmission"]["properties"]["params"] = {
        "title": "Params",
        "description": "Parameters of the operation: "
        + ", ".join(f"`{operation}` takes {PARAMS[operation].__name__}" for operation in SUBMITTABLE)
        + ".",
        "anyOf": [*({"$ref": REF.format(model=name)} for name in _names()), {"type": "null"}],
    }


def _names() -> list[str]:
    return list(dict.fromkeys(kind.__name__ for kind in _PARAMS))
