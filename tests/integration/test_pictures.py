"""Real models on large photos: the faces found do not depend on how the photo was decoded."""

import io
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from shared.faces import Face
from shared.operations import Operation, parse_params
from shared.results import FacesResult
from tests.integration.test_engine_expectations import engine, overlap
from tests.photos import SIX_FACES, labelled
from tests.pictures import encoded
from worker import operations
from worker.analysis import Stopwatch
from worker.images import Picture, decode

ORIENTATION = 0x0112


@cache
def six() -> NDArray[np.uint8]:
    return decode(SIX_FACES.read_bytes(), max_pixels=40_000_000).pixels


@cache
def twelve_megapixels() -> NDArray[np.uint8]:
    """The photo of six faces with 12 million pixels."""
    side = (12e6 / six().shape[0] / six().shape[1]) ** 0.5
    return np.asarray(cv2.resize(six(), None, fx=side, fy=side, interpolation=cv2.INTER_CUBIC), np.uint8)


def jpeg(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    return encoded(pixels, "JPEG", quality=92, **options)


def read(
    data: bytes, operation: Operation = Operation.EMBED, *, min_long_side: int = 0, **fields: Any
) -> tuple[FacesResult, Picture]:
    """The result of a worker and the picture, decoded by the usual rule unless `min_long_side` is given."""
    params = parse_params(operation, fields)
    picture = decode(
        data, max_pixels=40_000_000, min_long_side=min_long_side or operations.min_long_side(params, engine().info)
    )
    result = operations.run(operation, params, operations.Work(engine=engine(), clock=Stopwatch(), image=picture))
    assert isinstance(result, FacesResult)
    return result, picture


def cosine(one: Face, other: Face) -> float:
    assert one.embedding is not None
    assert other.embedding is not None
    return float(np.dot(one.embedding.vector, other.embedding.vector))


def shrunk(face: Face, by: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = face.box
    return x1 / by, y1 / by, x2 / by, y2 / by


def twin(face: Face, others: list[Face], *, by: float) -> Face:
    """The face in `others` that matches this one, in a picture `by` times as large."""
    [same] = [other for other in others if overlap(shrunk(other, by), face.box) >= 0.9]
    return same


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_large_photo_gives_the_faces_of_a_small_one_in_its_own_pixels(options: dict[str, Any]) -> None:
    small, _ = read(SIX_FACES.read_bytes())
    large, picture = read(jpeg(twelve_megapixels(), **options))
    height, width = twelve_megapixels().shape[:2]
    assert round(picture.scale[0]) == 2
    assert (large.image.width, large.image.height) == (width, height)
    assert len(large.faces) == len(small.faces) == 6
    by = width / six().shape[1]
    for face in small.faces:
        same = twin(face, large.faces, by=by)
        assert np.abs(np.subtract(np.array(same.landmarks) / by, face.landmarks)).max() < 3
        # decoded in full it is no closer: the detector's view of it differs by a pixel
        assert cosine(same, face) >= 0.95


def test_a_photo_decoded_at_half_size_gives_the_embeddings_of_the_whole() -> None:
    data = jpeg(twelve_megapixels())
    whole, _ = read(data, full_size=True)
    half, _ = read(data)
    for face in whole.faces:
        assert cosine(twin(face, half.faces, by=1), face) >= 0.99


@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_orientation_of_a_large_photo_gives_the_same_faces(orientation: int) -> None:
    stream = io.BytesIO()
    stored = Pillow.fromarray(cv2.cvtColor(twelve_megapixels(), cv2.COLOR_BGR2RGB))
    turns = {
        2: Pillow.Transpose.FLIP_LEFT_RIGHT, 3: Pillow.Transpose.ROTATE_180, 4: Pillow.Transpose.FLIP_TOP_BOTTOM,
        5: Pillow.Transpose.TRANSPOSE, 6: Pillow.Transpose.ROTATE_90, 7: Pillow.Transpose.TRANSVERSE,
        8: Pillow.Transpose.ROTATE_270,
    }  # fmt: skip
    exif = Pillow.Exif()
    exif[ORIENTATION] = orientation
    stored.transpose(turns[orientation]).save(stream, "JPEG", quality=92, exif=exif.tobytes())
    upright, _ = read(jpeg(twelve_megapixels()))
    turned, picture = read(stream.getvalue())
    assert round(picture.scale[0]) == 2
    assert turned.image == upright.image
    assert len(turned.faces) == len(upright.faces)
    for one, other in zip(turned.faces, upright.faces, strict=True):
        assert overlap(one.box, other.box) >= 0.9
        assert cosine(one, other) >= 0.98


def test_the_small_faces_of_a_group_keep_their_resolution() -> None:
    data = labelled("pypi+scrfd==0.3.0/images/solvay_conference_1927.jpg").read_bytes()
    whole = decode(data, max_pixels=40_000_000)
    group, picture = read(data, min_long_side=1280)
    assert round(picture.scale[0]) == 2
    assert len(group.faces) == 29
    found = engine().detect(whole.pixels)
    vectors = engine().embed(engine().align(whole.pixels, found))
    for face in group.faces:
        assert face.embedding is not None
        index = max(range(len(found)), key=lambda at: overlap(found[at].box, face.box))
        vector = vectors[index] / np.linalg.norm(vectors[index])
        assert float(vector @ np.array(face.embedding.vector)) >= 0.96


def test_a_larger_detector_size_decodes_more_of_the_photo() -> None:
    data = jpeg(twelve_megapixels())
    faces, picture = read(data, Operation.DETECT, det_size=[128, 1280])
    assert picture.scale == (1.0, 1.0)
    assert len(faces.faces) >= 6


@pytest.mark.parametrize(("select", "count"), [("all", 6), ("largest", 1), ("center", 1)])
def test_the_selected_face_is_one_of_those_found(select: str, count: int) -> None:
    every, _ = read(SIX_FACES.read_bytes(), Operation.DETECT)
    chosen, _ = read(SIX_FACES.read_bytes(), Operation.DETECT, select=select)
    assert len(chosen.faces) == count
    assert all(face in every.faces for face in chosen.faces)


def test_the_minimum_face_size_is_in_pixels_of_the_full_photo() -> None:
    every, _ = read(jpeg(twelve_megapixels()), Operation.DETECT)
    sides = sorted(min(face.box[2] - face.box[0], face.box[3] - face.box[1]) for face in every.faces)
    limit = (sides[2] + sides[3]) / 2
    large, _ = read(jpeg(twelve_megapixels()), Operation.DETECT, min_face_px=limit)
    assert large.faces == [face for face in every.faces if min(np.subtract(face.box[2:], face.box[:2])) >= limit]
    assert len(large.faces) == 3
