"""The API's own page at `/docs`, from files in this environment: it works without the internet."""

from pathlib import Path
from typing import Final

import fastapi_offline
from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from api.http.security_headers import page_policy

ASSETS: Final = "/docs/assets"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def page() -> HTMLResponse:
    """Swagger UI over `/openapi.json`."""
    shown = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Vultus API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )
    shown.headers["Content-Security-Policy"] = page_policy(bytes(shown.body))
    return shown


def mount_assets(app: FastAPI) -> None:
    """Serve Swagger UI's own files."""
    app.mount(ASSETS, StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static"), name="docs-assets")
