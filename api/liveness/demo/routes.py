"""The page at `/demo/liveness`: a liveness session with this device's camera, from three plain files."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse

FILES: Final = Path(__file__).resolve().parent

router = APIRouter(include_in_schema=False)


@router.get("/demo/liveness")
def page() -> FileResponse:
    """The page."""
    return FileResponse(FILES / "liveness.html", media_type="text/html")


@router.get("/demo/liveness.js")
def script() -> FileResponse:
    """What it does."""
    return FileResponse(FILES / "liveness.js", media_type="text/javascript")


@router.get("/demo/liveness.css")
def style() -> FileResponse:
    """How it looks."""
    return FileResponse(FILES / "liveness.css", media_type="text/css")
