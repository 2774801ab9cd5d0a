"""A JSON document as an answer: how every route that has one sends it."""

from collections.abc import Mapping

from pydantic_core import to_json
from starlette.responses import Response


def json_answer(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with what pydantic's writer makes of `content`; nothing is checked against a schema again."""
    return Response(to_json(content), status_code=status, headers=dict(headers or {}), media_type="application/json")
