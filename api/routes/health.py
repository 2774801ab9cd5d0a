"""Is the service there, is it ready, does this process answer."""

from typing import Final

from anyio import to_thread
from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.backend import Backend
from api.deps import BackendDep
from api.openapi import problem_responses
from api.schemas import HealthAnswer, LiveAnswer, QueueDepth, ServiceAnswer
from shared.errors import ErrorCode, UnavailableError

NO_STORE: Final = "the job store cannot be reached"
NO_WORKER: Final = "no worker with warmed models is alive"

router = APIRouter(tags=["health"], responses=problem_responses(ErrorCode.INTERNAL_ERROR))


@router.get("/", summary="Name and version")
async def service() -> ServiceAnswer:
    """Say what this is."""
    return ServiceAnswer()


@router.get(
    "/health",
    summary="Ready to work?",
    response_model=HealthAnswer,
    response_model_exclude_none=True,
    responses={503: {"model": HealthAnswer, "description": "No warmed worker is alive, or the store is away."}},
)
async def health(backend: BackendDep) -> JSONResponse:
    """Say whether images would be analysed now: 200 with at least one warmed worker, else 503."""
    answer = await to_thread.run_sync(_health, backend)
    healthy = answer.status == "healthy"
    content = answer.model_dump(mode="json", exclude=None if not healthy else {"reason"})
    return JSONResponse(content, status_code=200 if healthy else 503, headers={} if healthy else {"Retry-After": "5"})


def _health(backend: Backend) -> HealthAnswer:
    try:
        waiting, running = backend.ledger.depth()
        workers = backend.roll.alive()
    except UnavailableError:
        return HealthAnswer(
            status="unhealthy", models_loaded=False, workers=0, queue=None, model_pack=None, reason=NO_STORE
        )
    return HealthAnswer(
        status="healthy" if workers else "unhealthy",
        models_loaded=bool(workers),
        workers=len(workers),
        queue=QueueDepth(waiting=waiting, running=running),
        model_pack=", ".join(sorted({worker.model_pack for worker in workers})) or None,
        reason=None if workers else NO_WORKER,
    )


@router.get("/livez", summary="Alive?")
async def livez() -> LiveAnswer:
    """Answer, whatever the store and the workers do: for the supervisor of this process."""
    return LiveAnswer()
