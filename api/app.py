"""The gateway process: wiring, start and stop."""

import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, cast

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from api.admin import api_keys, audit, tenants
from api.auth.audit_log import AuditLog, AuditMiddleware
from api.auth.authenticator import open_authenticator
from api.backend.backend import Backend, OpenBackend, open_backend, verify_ledger
from api.batches import routes as batches_routes
from api.batches import schemas as batches_schemas
from api.classic import routes as classic_routes
from api.classic import schemas as classic_schemas
from api.health import docs
from api.health import routes as health_routes
from api.health.schemas import VERSION
from api.http import problems
from api.http.content_encoding import PlainBodies
from api.http.cors import Cors
from api.http.draining import Drain
from api.http.metrics import NO_ROUTE, expect_requests
from api.http.middleware import AllowedHosts, BodyLimit, HeadAsGet, RequestContextMiddleware
from api.http.openapi import add_models, complete
from api.http.server import serve
from api.http.uploads import Uploads
from api.jobs import events, forms
from api.jobs import routes as jobs_routes
from api.liveness import routes as liveness_routes
from api.liveness import schemas as liveness_schemas
from api.liveness.demo import routes as demo_routes
from api.settings.api import ApiSettings
from api.settings.auth import check_auth
from api.webhooks import callbacks, deliveries, endpoints, signing_secrets
from shared.errors import SettingsError, VultusError
from shared.ledger.connection import verify_broker
from shared.observability import logs, tracing
from shared.observability.monitor import Monitor, Readiness
from shared.operations import MAX_IMAGES
from shared.settings import load

SLACK: Final = 128 * 1024
"""Bytes of a request besides its images: part headers, parameters, an embedding as text."""
SMALL: Final = 256 * 1024
"""Maximum body of a request without an image, in bytes."""
ONE_IMAGE: Final = frozenset({"/detect", "/extract-embedding", "/verify", "/liveness", "/register"})
FRAMES: Final = re.compile(r"/v1/liveness-sessions/[^/]+/frames")

DESCRIPTION: Final = """\
Face analysis through two APIs. **Jobs** (`/v1/jobs`): submit an image, then poll or wait for the result.
**Classic endpoints** (`/detect`, `/register`, ...): one request, one response.
Every error is an `application/problem+json` document with a `code` from a closed list."""
TAGS: Final = [
    {"name": "jobs", "description": "Asynchronous: a 202 means that the job is stored until it completes."},
    {"name": "batches", "description": "Many jobs in one request, accepted and counted together."},
    {"name": "liveness sessions", "description": "Verify that a live person is in front of the camera."},
    {"name": "webhooks", "description": "Endpoints that receive job results, and the log of deliveries."},
    {"name": "admin", "description": "Tenants, API keys, and the audit log."},
    {"name": "classic", "description": "Synchronous: the request waits for the job to complete."},
    {"name": "health", "description": "For load balancers and supervisors."},
]

MODELS: Final[tuple[type[BaseModel], ...]] = (
    *forms.DOCUMENTED,
    *batches_schemas.DOCUMENTED,
    *classic_schemas.DOCUMENTED,
    *liveness_schemas.DOCUMENTED,
)
"""The models that only hand-written parts of the OpenAPI document refer to."""

log = structlog.get_logger(__name__)


class Gateway(FastAPI):
    """FastAPI with the hand-written parts of the OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, which is built once."""
        if self.openapi_schema is None:
            document = super().openapi()
            add_models(document, MODELS)
            forms.describe_params(document["components"]["schemas"])
            self.openapi_schema = complete(document)
        return self.openapi_schema


def create_app(settings: ApiSettings, *, backend: OpenBackend = open_backend) -> FastAPI:
    """Create the gateway's application; `backend` opens the resources of the routes."""
    app = Gateway(
        title="Vultus",
        summary="Self-hosted face analysis.",
        description=DESCRIPTION,
        version=VERSION,
        openapi_tags=TAGS,
        lifespan=partial(_lifespan, settings=settings, backend=backend),
        openapi_url=None,  # the framework's own route would build the document on the event loop
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the middleware strips one slash; a redirect would lose the scheme and the body
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
    )
    app.state.settings = settings
    app.state.drain = Drain()
    app.state.routes = []
    _add_routes(app, settings)
    app.add_exception_handler(VultusError, problems.answer_error)
    app.add_exception_handler(RequestValidationError, problems.answer_validation)
    app.add_exception_handler(HTTPException, problems.answer_http)
    _add_middleware(app, settings)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, *, settings: ApiSettings, backend: OpenBackend) -> AsyncIterator[None]:
    """Keep the backend open, and write the audit log, while the application runs."""
    async with backend(settings) as opened:
        app.state.backend = opened
        app.state.authenticator = open_authenticator(
            settings, keys=opened.stores.api_keys, tenants=opened.stores.tenants
        )
        app.state.audit = AuditLog(opened.stores.audit, keep=settings.audit_ttl)
        async with app.state.audit.running():
            yield


def _add_routes(app: FastAPI, settings: ApiSettings) -> None:
    for part in (
        jobs_routes, events, batches_routes, liveness_routes, endpoints, signing_secrets, deliveries, classic_routes,
        tenants, api_keys, audit, health_routes, docs,
    ):  # fmt: skip
        _add_router(app, part.router)
    if settings.demo:
        _add_router(app, demo_routes.router)
    expect_requests(methods=("GET", "POST"), route=NO_ROUTE, statuses=(404,))
    callbacks.document(app)
    docs.mount_assets(app)


def _add_router(app: FastAPI, router: APIRouter) -> None:
    app.include_router(router)
    for route in router.routes:
        if isinstance(route, APIRoute):
            app.state.routes.append(route)
            statuses = {route.status_code or 200, *map(int, route.responses)}
            expect_requests(methods=route.methods or (), route=route.path, statuses=statuses)


def _add_middleware(app: FastAPI, settings: ApiSettings) -> None:
    """Add the middleware, from the innermost to the outermost."""
    app.add_middleware(AuditMiddleware, audit=lambda: app.state.audit)
    app.add_middleware(BodyLimit, limit=_limits(settings))
    app.add_middleware(PlainBodies)
    app.add_middleware(
        Uploads, budget=settings.upload_budget_bytes, grace=settings.upload_grace, rate=settings.upload_min_rate
    )
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    app.add_middleware(HeadAsGet)
    if settings.allowed_hosts:
        app.add_middleware(AllowedHosts, hosts=settings.allowed_hosts)
    app.add_middleware(RequestContextMiddleware, drain=app.state.drain, hsts=settings.hsts_max_age)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _limits(settings: ApiSettings) -> Callable[[str, str], int]:
    """Return a function that gives the maximum body size, in bytes, by path and content type."""
    one_image = settings.max_image_bytes + SLACK
    images = MAX_IMAGES * settings.max_image_bytes + SLACK
    images_base64 = MAX_IMAGES * settings.max_image_bytes * 4 // 3 + SLACK

    def limit(path: str, content_type: str) -> int:
        if path in ONE_IMAGE or FRAMES.fullmatch(path):
            return one_image
        if path == "/v1/jobs":
            return images if content_type.lower().startswith("multipart/") else images_base64
        if path == "/v1/liveness-sessions":  # with a reference image, base64
            return settings.max_image_bytes * 4 // 3 + SLACK
        if path == "/v1/batches":
            return settings.max_batch_bytes
        return SMALL

    return limit


def main() -> None:
    """Run the gateway until it is stopped."""
    try:
        settings = load(ApiSettings)
        logs.configure(form=settings.log_format, level=settings.log_level)
        check_auth(settings, host=settings.host)
        app = create_app(settings)
        # Uvicorn re-raises the signal that stopped it. A requested stop is not a failure.
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, lambda *_: sys.exit(0))
        with Monitor(settings, ready=lambda: _readiness(app)):
            verify_ledger(settings)
            verify_broker(settings.broker_url)
            tracing.start("gateway")
            # The lifespan opens the backend, so `stopping` looks it up only when the process stops.
            serve(app, settings=settings, drain=app.state.drain, stopping=lambda: _end_waits(app))
            tracing.stop()
    except SettingsError as error:
        logs.refuse_start("vultus-api", str(error))
        sys.exit(2)


def _end_waits(app: FastAPI) -> None:
    cast("Backend", app.state.backend).waiting.hurry()


def _readiness(app: FastAPI) -> Readiness:
    opened = getattr(app.state, "backend", None)
    return Readiness.LOADING if opened is None else health_routes.readiness(opened, app.state.drain)


if __name__ == "__main__":
    main()
