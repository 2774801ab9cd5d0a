"""JSON responses, as every route sends them."""

from collections.abc import Mapping

from pydantic_core import to_json
from starlette.responses import Response


def json_answer(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Serialize `content` with pydantic, without validating it against a schema again."""
    return Response(to_json(content), status_code=status, headers=dict(headers or {}), media_type="application/json")
