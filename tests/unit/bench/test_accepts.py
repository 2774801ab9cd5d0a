"""The image that the acceptance benchmark submits."""

from bench.accepts import IMAGE, noise
from shared.image_header.inspection import inspect_image


def test_image_is_valid_and_has_the_stated_size() -> None:
    data = noise().data
    assert len(data) == IMAGE
    assert inspect_image(data, max_bytes=IMAGE, max_pixels=1_000_000).kind == "jpeg"
    assert len(data.rstrip(b"\0")) > IMAGE / 2
