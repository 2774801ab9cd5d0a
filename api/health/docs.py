"""The OpenAPI document, and the API reference at `/docs` from installed files, which works without internet access."""

from pathlib import Path
from typing import Final

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from api.http.security_headers import page_policy

ASSETS: Final = "/docs/assets"
DOCUMENT: Final = "/openapi.json"

router = APIRouter(include_in_schema=False)


@router.get(DOCUMENT)
def document(request: Request) -> JSONResponse:
    """Serve the document. Building it takes most of a second, once, in a thread: other requests go on meanwhile."""
    app: FastAPI = request.app
    return JSONResponse(app.openapi())


@router.get("/docs")
def page() -> HTMLResponse:
    """Serve Swagger UI for the document."""
    response = get_swagger_ui_html(
        openapi_url=DOCUMENT,
        title="Vultus API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )
    response.headers["Content-Security-Policy"] = page_policy(bytes(response.body))
    return response


def mount_assets(app: FastAPI) -> None:
    """Serve the static files of Swagger UI."""
    app.mount(ASSETS, StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static"), name="docs-assets")
