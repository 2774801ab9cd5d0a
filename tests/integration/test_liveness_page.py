"""`/demo/liveness` in a real Chromium whose camera plays films: real gateway, store, worker and models.

The films are made from the labelled pictures: a person who looks straight ahead, and the same person turned; each is
moved a little, as in front of a camera. Without Chromium or the pictures the tests are skipped with that reason.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from playwright.sync_api import Page, expect, sync_playwright

from tests.photos import LABELLED
from tests.stacks import serving
from tools.setup import models_dir
from tools.stack import Stack

Image = NDArray[np.uint8]
Frame = Callable[[float, np.random.Generator], Image]
"""The picture at this second of a film."""

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FOLDER = LABELLED / "exadel-inc+CompreFace" / "embedding-calculator" / "sample_images"
STRAIGHT, TURNED = FOLDER / "007_B.jpg", FOLDER / "008_B.jpg"
WIDTH, HEIGHT, RATE, SPARE = 640, 480, 30, 64
WITHIN = 90_000
"""Milliseconds; this machine may be busy."""
LONG = 20.0
"""Seconds of a film that ends after its session: repeated, it would be refused as a replay."""
SHOTS = os.environ.get("SCREENSHOTS")
"""A folder for screenshots of the page, for people to look at."""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(not STRAIGHT.exists(), reason="the labelled pictures are not here"),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"VULTUS_PACK": "compact", "VULTUS_MODELS_DIR": str(models_dir())}
    with serving(tmp_path_factory.mktemp("page"), settings) as running:
        yield running


# --- films --------------------------------------------------------------------------------------------------------


@cache
def portrait(path: Path) -> Image:
    """The picture, large enough to cover a frame."""
    image = np.asarray(cv2.imread(str(path)), np.uint8)
    scale = max(WIDTH / image.shape[1], HEIGHT / image.shape[0]) * 1.08
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


@cache
def grain() -> NDArray[np.int16]:
    """The noise of a sensor larger than a frame: a frame has a part of it, because drawing noise takes long."""
    noise = np.random.default_rng(3).normal(0.0, 2.0, (HEIGHT + SPARE, WIDTH + SPARE, 3))
    return np.rint(noise).astype(np.int16)


def held(image: Image, dice: np.random.Generator) -> Image:
    """The camera's view of it: a part of a frame, never twice the same, with sensor noise."""
    high, wide = image.shape[:2]
    x, y = ((size - frame) / 2 for size, frame in ((wide, WIDTH), (high, HEIGHT)))
    shift = dice.normal(0.0, 1.2, 2)
    matrix = np.array([[1.0, 0.0, -x + shift[0]], [0.0, 1.0, -y + shift[1]]])
    seen = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    row, column = dice.integers(0, SPARE, 2)
    noise = grain()[row : row + HEIGHT, column : column + WIDTH]
    return np.asarray(np.clip(seen + noise, 0, 255), np.uint8)


def willing(when: float, dice: np.random.Generator) -> Image:
    """A person who looks straight, turns, and looks straight again, every few seconds."""
    return held(portrait(TURNED if when % 4 > 2 else STRAIGHT), dice)


def tilted(when: float, dice: np.random.Generator) -> Image:
    """A photo of a face, turned about its vertical axis by hand, up to 55 degrees and back."""
    image = held(portrait(STRAIGHT), dice)
    angle = np.radians(min(55.0, 14.0 * max(0.0, when % 10 - 2)))
    near, far = 1 + 0.25 * np.sin(angle), 1 - 0.25 * np.sin(angle)
    half = np.array([WIDTH / 2, HEIGHT / 2])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
    sides = np.where(corners[:, :1] > 0, far, near)
    turned = half + half * corners * np.array([np.cos(angle), 1.0]) * sides
    matrix = cv2.getPerspectiveTransform((half + half * corners).astype(np.float32), turned.astype(np.float32))
    return np.asarray(cv2.warpPerspective(image, matrix, (WIDTH, HEIGHT), borderValue=(90, 110, 120)), np.uint8)


def still(_when: float, _dice: np.random.Generator) -> Image:
    """The same picture all the time."""
    return held(portrait(STRAIGHT), np.random.default_rng(1))


def film(path: Path, frame: Frame, *, seconds: float) -> Path:
    """A film in the format of Chromium's fake camera, repeated: JPEGs in sequence."""
    dice = np.random.default_rng(7)
    with path.open("wb") as file:
        for number in range(round(seconds * RATE)):
            coded = cv2.imencode(".jpg", frame(number / RATE, dice), [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
            file.write(coded.tobytes())
    return path


# --- the browser --------------------------------------------------------------------------------------------------


@contextmanager
def browser(camera: Path, profile: Path, *, wide: int = 400, high: int = 860, dark: bool = False) -> Iterator[Page]:
    """A page of a phone's size whose camera plays a film; an error in its log fails the test."""
    errors: list[str] = []
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=CHROMIUM,
            headless=True,
            viewport={"width": wide, "height": high},
            color_scheme="dark" if dark else "light",
            permissions=["camera"],
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                "--disable-background-networking", "--disable-component-update", "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}",
            ],
        )  # fmt: skip
        page = context.pages[0]
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        try:
            yield page
        finally:
            context.close()
    assert [line for line in errors if "status of 409" not in line] == []


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def opened(service: Stack, **request: Any) -> tuple[str, str]:
    """A session opened by a server, and the link for its client."""
    answer = requests.post(f"{service.url}/v1/liveness-sessions", json=request, timeout=30)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    return body["id"], f"{service.url}/demo/liveness#session={body['id']}&token={body['client_token']}"


def outcome(service: Stack, session: str) -> dict[str, Any]:
    answer = requests.get(f"{service.url}/v1/liveness-sessions/{session}", timeout=30)
    return dict(answer.json())


def test_a_real_person_who_turns_passes(service: Stack, tmp_path: Path) -> None:
    session, link = opened(service, movements=1, kinds=["turn_left"], step_seconds=60)
    with browser(film(tmp_path / "willing.mjpeg", willing, seconds=LONG), tmp_path / "profile") as page:
        page.goto(link)
        shoot(page, "start")
        page.get_by_role("button", name="Start the check").click()
        expect(page.locator("#instruction")).to_have_text("Turn your head to your left", timeout=WITHIN)
        shoot(page, "running")
        expect(page.locator("#outcome")).to_have_text("You passed", timeout=WITHIN)
        assert page.evaluate("document.activeElement.id") == "verdict", "a screen reader is led to the outcome"
        shoot(page, "passed")
    body = outcome(service, session)
    assert (body["status"], [each["status"] for each in body["steps"]]) == ("passed", ["passed"] * 3)


def test_a_photo_turned_by_hand_fails_as_flat(service: Stack, tmp_path: Path) -> None:
    session, link = opened(service, movements=1, kinds=["turn_left"], step_seconds=60)
    with browser(film(tmp_path / "tilted.mjpeg", tilted, seconds=LONG), tmp_path / "profile") as page:
        page.goto(link)
        page.get_by_role("button", name="Start the check").click()
        expect(page.locator("#outcome")).to_have_text("The check failed", timeout=WITHIN)
        expect(page.locator("#reason")).to_contain_text("turned like a flat picture")
        shoot(page, "failed-flat")
    body = outcome(service, session)
    assert (body["status"], body["reason"]) == ("failed", "flat_face")
    assert [each["name"] for each in body["refused"]] == ["parallax"]


def test_a_still_picture_fails_and_the_page_explains_why(service: Stack, tmp_path: Path) -> None:
    with browser(film(tmp_path / "still.mjpeg", still, seconds=0.2), tmp_path / "profile", dark=True) as page:
        page.goto(f"{service.url}/demo/liveness")
        shoot(page, "start-dark")
        page.get_by_role("button", name="Start the check").click()
        expect(page.locator("#outcome")).to_have_text("The check failed", timeout=WITHIN)
        expect(page.locator("#reason")).to_contain_text("stood perfectly still")
        expect(page.locator("#evidence .step")).to_have_count(5)
        expect(page.locator("#evidence .step").first).to_contain_text("passive liveness")
        shoot(page, "failed-still-dark")


def test_without_a_camera_the_page_explains_what_to_do(service: Stack, tmp_path: Path) -> None:
    with browser(film(tmp_path / "still.mjpeg", still, seconds=0.1), tmp_path / "profile") as page:
        page.add_init_script(
            "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
        )
        page.goto(f"{service.url}/demo/liveness")
        page.get_by_role("button", name="Start the check").click()
        expect(page.get_by_role("alert")).to_contain_text("Allow it for this page")
        shoot(page, "no-camera")
