"""Health routes: version, health of the service, readiness and liveness of this process."""

from typing import Final

from anyio import to_thread
from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.backend.backend import Backend
from api.backend.workers import contracts_of
from api.deps import PUBLIC, BackendDep, DrainDep, SettingsDep
from api.health.schemas import HealthAnswer, LiveAnswer, QueueDepth, ReadyAnswer, ServiceAnswer
from api.http.draining import Drain
from api.http.openapi import problem_responses
from shared.errors import ErrorCode, UnavailableError
from shared.ledger.connection import still_loads
from shared.observability.monitor import Readiness

NO_STORE: Final = "the job store cannot be reached"
NO_WORKER: Final = "no worker with warmed models is alive"
MIXED: Final = "workers have different embedding contracts; their embeddings cannot be compared"

router = APIRouter(tags=["health"], responses=problem_responses(ErrorCode.INTERNAL_ERROR))


@router.get("/", summary="Name and version", openapi_extra=PUBLIC)
async def service() -> ServiceAnswer:
    """Return the name and version of the service."""
    return ServiceAnswer()


@router.get(
    "/health",
    summary="Service health",
    openapi_extra=PUBLIC,
    response_model=HealthAnswer,
    response_model_exclude_none=True,
    responses={
        503: {
            "model": HealthAnswer,
            "description": "No worker with loaded models is alive, or the job store is unavailable.",
        }
    },
)
async def health(backend: BackendDep) -> JSONResponse:
    """Check whether images can be analyzed: 200 if at least one worker with loaded models is alive, else 503."""
    answer = await to_thread.run_sync(_health, backend)
    healthy = answer.status == "healthy"
    absent = {name for name in ("reason", "warning") if getattr(answer, name) is None}
    content = answer.model_dump(mode="json", exclude=absent)
    return JSONResponse(content, status_code=200 if healthy else 503, headers={} if healthy else {"Retry-After": "5"})


def _health(backend: Backend) -> HealthAnswer:
    try:
        waiting, running = backend.stores.jobs.depth()
        workers = backend.workers.alive()
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
        warning=MIXED if len(contracts_of(workers)) > 1 else None,
    )


@router.get(
    "/readyz",
    summary="Readiness",
    openapi_extra=PUBLIC,
    response_model=ReadyAnswer,
    responses={
        503: {
            "model": ReadyAnswer,
            "description": "The gateway is draining, or its job store is unavailable or loading.",
        }
    },
)
async def readyz(backend: BackendDep, drain: DrainDep, settings: SettingsDep) -> JSONResponse:
    """Check whether this gateway should receive traffic: 200, or 503 while it drains or its store does not respond.

    A full queue or a lack of workers does not make the gateway unready, because clients can still read their jobs.
    `accepts_jobs` and `GET /health` report those conditions.
    """
    answer = await to_thread.run_sync(_ready, backend, drain, settings.queue_limit)
    ready = answer.status == "ready"
    return JSONResponse(
        answer.model_dump(mode="json"), status_code=200 if ready else 503, headers={} if ready else {"Retry-After": "5"}
    )


def _ready(backend: Backend, drain: Drain, queue_limit: int) -> ReadyAnswer:
    state = readiness(backend, drain)
    accepts = False
    if state is Readiness.READY:
        try:
            backend.stores.pressure.refuse_if_high()
            accepts = backend.stores.jobs.depth()[0] < queue_limit
        except UnavailableError:
            pass
    return ReadyAnswer(status=state.value, accepts_jobs=accepts)


def readiness(backend: Backend, drain: Drain) -> Readiness:
    """The readiness of this gateway. Blocks: do not call it on the event loop."""
    if drain.began:
        return Readiness.DRAINING
    try:
        backend.stores.layout.check()
    except UnavailableError as error:
        return Readiness.LOADING if still_loads(error) else Readiness.AWAY
    return Readiness.READY


@router.get("/livez", summary="Liveness", openapi_extra=PUBLIC)
async def livez() -> LiveAnswer:
    """Respond whenever this process runs, regardless of the store and the workers. For its supervisor."""
    return LiveAnswer()
