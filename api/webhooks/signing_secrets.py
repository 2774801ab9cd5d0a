"""The secrets that sign callbacks to addresses which came with a tenant's jobs."""

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
    response_description="The secrets, the one that stays first.",
    responses=problem_responses(ErrorCode.WEBHOOKS_OFF, ErrorCode.INTERNAL_ERROR),
)
async def read_secrets(request: Request, caller: WebhooksAdmin, settings: SettingsDep) -> Response:
    """Read what signs callbacks to addresses that come with your tenant's jobs. Endpoints have a secret of their own.

    The tenant `default` is the operator's: its secrets are those of the settings, and no call shows them (403).
    """
    settings.webhook_policy.check_own()
    if caller.tenant == DEFAULT:
        raise RequestError(ErrorCode.FORBIDDEN, "The default tenant's secrets are the operator's; no call shows them.")
    request.state.discloses = True
    return json_answer({"secrets": settings.signing_secrets(caller.tenant)})
