"""Schemas that every feature shares: problem documents and times."""

import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from shared.errors import ErrorCode

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, UTC.")]


class FieldProblem(BaseModel):
    """One invalid field."""

    field: str = Field(description="Path of the field, such as `params.threshold`.")
    detail: str = Field(description="Why the field is invalid.")


class Problem(BaseModel):
    """An RFC 9457 problem document, sent as `application/problem+json`."""

    type: str = Field(description="`urn:vultus:error:` and the code.")
    title: str = Field(description="Short summary of the code, the same for every occurrence.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="Explanation of this occurrence.")
    code: ErrorCode = Field(description="Error code, from the closed list in docs/errors.md.")
    request_id: str = Field(description="Also in the `X-Request-ID` header and in every log line of the request.")
    errors: list[FieldProblem] | None = Field(default=None, description="Invalid fields, if any.")


def only_rfc3339(value: Any) -> Any:
    """Reject text that is not RFC 3339, such as a bare number or date, instead of guessing its meaning.

    Raises:
        ValueError: the text has another form.
    """
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        msg = "must be an RFC 3339 timestamp, such as 2026-11-24T09:30:00Z"
        raise ValueError(msg)
    return value
