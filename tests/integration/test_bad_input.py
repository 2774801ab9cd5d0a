"""Bad input gets a clear answer from the real service, whether the gateway or the worker detects it."""

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from tests.photos import ASTRONAUT, NO_FACE, SIX_FACES
from tools.stack import Stack

FACE = Image.open(ASTRONAUT).convert("RGB")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def animated_gif() -> bytes:
    return encoded(FACE, "GIF", save_all=True, append_images=[FACE.rotate(5)])


JPEG = encoded(FACE, "JPEG", quality=95)
REFUSED = {
    "empty file": (b"", 400, "empty_image"),
    "text named .jpg": (b"this is not a picture, whatever its name", 415, "unsupported_image_type"),
    "truncated JPEG": (JPEG[: len(JPEG) // 2], 400, "invalid_image"),
    "6 MB file": (JPEG + b"\0" * 6_000_000, 413, "image_too_large"),
    "30,000 x 30,000 PNG header": (huge_png(), 413, "image_dimensions_too_large"),
    "animated GIF": (animated_gif(), 415, "unsupported_image_type"),
}


@pytest.mark.parametrize("call", ["/detect", "/v1/jobs"])
@pytest.mark.parametrize("case", list(REFUSED))
def test_a_bad_file_is_refused_with_its_code(stack: Stack, call: str, case: str) -> None:
    data, status, code = REFUSED[case]
    field = "file" if call == "/detect" else "image"
    form = {} if call == "/detect" else {"operation": "detect"}
    answer = requests.post(stack.url + call, files={field: ("photo.jpg", data)}, data=form, timeout=30)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) in {(status, code), (413, "request_too_large")}, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(problem) >= {"type", "title", "status", "detail", "code", "request_id"}


def sixteen_bit() -> bytes:
    import cv2  # noqa: PLC0415 - Pillow cannot write it

    pixels = np.asarray(FACE)[:, :, ::-1].astype(np.uint16) * 257
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def rotated(orientation: int) -> bytes:
    """A picture stored on its side, with the EXIF orientation that turns it upright."""
    turned = {3: 180, 6: 90, 8: 270}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(FACE.rotate(turned, expand=True), "JPEG", quality=95, exif=exif)


TAKEN = {
    "PNG with alpha": encoded(FACE.convert("RGBA"), "PNG"),
    "16-bit PNG": sixteen_bit(),
    "CMYK JPEG": encoded(FACE.convert("CMYK"), "JPEG", quality=95),
    "grey JPEG": encoded(FACE.convert("L"), "JPEG", quality=95),
    "WebP": encoded(FACE, "WEBP", quality=95),
    "BMP": encoded(FACE, "BMP"),
    "EXIF turned by 180": rotated(3),
    "EXIF turned by 90": rotated(6),
    "EXIF turned by 270": rotated(8),
}


@pytest.mark.parametrize("case", list(TAKEN))
def test_an_unusual_file_is_read_upright_with_the_face_in_place(stack: Stack, case: str) -> None:
    answer = requests.post(stack.url + "/detect", files={"file": TAKEN[case]}, timeout=30).json()
    plain = requests.post(stack.url + "/detect", files={"file": JPEG}, timeout=30).json()
    assert answer["num_faces"] == 1, answer
    assert answer["bbox"] == pytest.approx(plain["bbox"], abs=6)


@pytest.mark.parametrize(
    ("call", "none", "several"),
    [
        ("/detect", "No face detected", "Multiple faces detected. Please ensure only one face is visible."),
        ("/extract-embedding", "No face detected", "Multiple faces detected. Please ensure only one face is visible."),
        ("/liveness", "No face detected", "Multiple faces detected"),
    ],
)
def test_no_face_and_six_faces_are_results_with_a_message(stack: Stack, call: str, none: str, several: str) -> None:
    for photo, message in ((NO_FACE, none), (SIX_FACES, several)):
        answer = requests.post(stack.url + call, files={"file": photo.read_bytes()}, timeout=30)
        assert (answer.status_code, answer.json()["message"]) == (200, message)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (json.dumps([0.1] * 100), 422),
        ("[NaN, 1, 2]", 422),
        ("[" + ", ".join(["1e999"] * 512) + "]", 422),
        (json.dumps([0.0] * 512), 422),
        ("not json", 400),
        ('{"a": 1}', 422),
    ],
)
def test_an_invalid_stored_embedding_is_refused(stack: Stack, text: str, status: int) -> None:
    answer = requests.post(stack.url + "/verify", files={"file": JPEG}, data={"stored_embedding": text}, timeout=30)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] in {"invalid_embedding", "malformed_json"}


@pytest.mark.parametrize(
    "body",
    [
        '{"embedding1": [1, 2], "embedding2": [1]}',
        '{"embedding1": [0, 0], "embedding2": [1, 1]}',
        '{"embedding1": [NaN, 1], "embedding2": [1, 1]}',
        '{"embedding1": [1, 1]}',
    ],
)
def test_embeddings_that_cannot_be_compared_are_422(stack: Stack, body: str) -> None:
    answer = requests.post(stack.url + "/compare", data=body, headers={"content-type": "application/json"}, timeout=10)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ('{"operation": "detect", "image": {"base64": "', 400, "malformed_json"),
        ('{"operation": "guess", "image": {"base64": "AA=="}}', 422, "invalid_request"),
        ('{"operation": "detect", "image": {"base64": "AA=="}, "colour": 1}', 422, "invalid_request"),
        ('{"operation": "detect", "image": {"base64": "***"}}', 422, "invalid_request"),
        ('{"operation": "verify", "image": {"base64": "AA=="}}', 422, "invalid_request"),
    ],
)
def test_broken_json_and_unknown_operation_or_field_have_distinct_errors(
    stack: Stack, body: str, status: int, code: str
) -> None:
    answer = requests.post(stack.url + "/v1/jobs", data=body, headers={"content-type": "application/json"}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
