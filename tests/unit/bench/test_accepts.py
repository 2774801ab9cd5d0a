"""What the measurement of accepting sends."""

from bench.accepts import IMAGE, noise
from shared.image_header.inspection import inspect_image


def test_the_image_is_one_that_the_gateway_takes_and_of_the_size_that_is_said() -> None:
    data = noise().data
    assert len(data) == IMAGE
    assert inspect_image(data, max_bytes=IMAGE, max_pixels=1_000_000).kind == "jpeg"
    assert len(data.rstrip(b"\0")) > IMAGE / 2
