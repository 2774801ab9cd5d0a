"""Route that shows the secrets which sign callbacks to per-job webhook URLs."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.deps import SettingsDep, WebhooksAdmin
from api.http.openapi import problem_responses
from api.http.responses import json_answer
from api.webhooks.schemas import SigningSecrets
from shared.errors import ErrorCode, RequestError
from shared.tenants import DEFAULT

router = APIRouter(prefix="/v1/webhook-secrets", tags=["webhooks"])


@router.get(
    "",
    summary="Read your tenant's signing secrets",
    response_model=SigningSecrets,
    response_description="The secrets. The first one remains valid during a rotation.",
    responses=problem_responses(ErrorCode.WEBHOOKS_OFF, ErrorCode.INTERNAL_ERROR),
)
async def read_secrets(request: Request, caller: WebhooksAdmin, settings: SettingsDep) -> Response:
    """Read the secrets that sign callbacks to per-job webhook URLs of your tenant. Endpoints have their own secrets.

    The secrets of the tenant `default` belong to the operator and are not returned (403).
    """
    settings.webhook_policy.check_own()
    if caller.tenant == DEFAULT:
        raise RequestError(
            ErrorCode.FORBIDDEN, "The default tenant's secrets belong to the operator and cannot be read."
        )
    request.state.discloses = True
    return json_answer({"secrets": settings.signing_secrets(caller.tenant)})
