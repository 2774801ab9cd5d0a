"""Schemas that every feature shares: problem documents and times."""

import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from shared.errors import ErrorCode

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, UTC.")]


class FieldProblem(BaseModel):
    """One wrong field."""

    field: str = Field(description="Where it is, such as `params.threshold`.")
    detail: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """An error, as RFC 9457 has it; sent as `application/problem+json`."""

    type: str = Field(description="`urn:vultus:error:` and the code.")
    title: str = Field(description="What the code means, the same for every occurrence.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened this time.")
    code: ErrorCode = Field(description="One of the closed list in docs/errors.md.")
    request_id: str = Field(description="Also in the `X-Request-ID` header and in every log line of the request.")
    errors: list[FieldProblem] | None = Field(default=None, description="The wrong fields, where there are any.")


def only_rfc3339(given: Any) -> Any:
    """Leave numbers and dates without a time to nobody's guess.

    Raises:
        ValueError: it is a text of another form.
    """
    if isinstance(given, str) and not _RFC3339.fullmatch(given):
        msg = "must be a time as RFC 3339 has it, such as 2026-11-24T09:30:00Z"
        raise ValueError(msg)
    return given
