"""Serves the demo page `/demo/liveness`, which runs a liveness session with the camera of the device."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse

FILES: Final = Path(__file__).resolve().parent

router = APIRouter(include_in_schema=False)


@router.get("/demo/liveness")
def page() -> FileResponse:
    """Serve the page."""
    return FileResponse(FILES / "liveness.html", media_type="text/html")


@router.get("/demo/liveness.js")
def script() -> FileResponse:
    """Serve the script."""
    return FileResponse(FILES / "liveness.js", media_type="text/javascript")


@router.get("/demo/liveness.css")
def style() -> FileResponse:
    """Serve the style sheet."""
    return FileResponse(FILES / "liveness.css", media_type="text/css")
