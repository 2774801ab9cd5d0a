"""The real engine with the compact pack reproduces earlier measurements on labelled pictures."""

import base64
import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import starmap
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import ErrorCode, ImageError
from tests.photos import SIX_FACES, labelled
from tools.setup import models_dir
from worker.engine.base import Attributes, Detection, Image, Vectors
from worker.engine.detector import Detector
from worker.engine.devices import choose_device
from worker.engine.insight import InsightEngine
from worker.engine.quality import measure
from worker.engine.sessions import open_session
from worker.images import decode
from worker.packs.manifests import MANIFEST, installed
from worker.packs.prepare import prepared

Row = dict[str, str]
Box = tuple[float, float, float, float]


@cache
def engine() -> InsightEngine:
    """The compact pack, loaded once."""
    if not (models_dir() / "compact" / MANIFEST).exists():
        pytest.fail("the compact pack is not installed; run: make setup")
    return InsightEngine(models_dir(), pack="compact", device=choose_device("cpu"))


@cache
def picture(name: str) -> Image:
    """The pixels of a labelled picture; read-only, because tests share them."""
    pixels = decode(labelled(name).read_bytes(), max_pixels=40_000_000).pixels
    pixels.flags.writeable = False
    return pixels


@cache
def faces_of(name: str) -> tuple[Detection, ...]:
    """What the full pass finds in a labelled picture."""
    return tuple(engine().detect(picture(name)))


def embedded(image: Image, faces: Sequence[Detection]) -> Vectors:
    return engine().embed(engine().align(image, faces))


def liveness(name: str) -> float:
    """Probability that the largest face is live."""
    score = engine().liveness(picture(name), largest(name)[0])
    assert score is not None
    return score


def expected() -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", json.loads(labelled("expected.json").read_text()))


def rows(name: str) -> list[Row]:
    with labelled(name).open(newline="") as table:
        return list(csv.DictReader(table))


def file_of(row: Row, suffix: str = "") -> str:
    """The local name of a row's picture: `owner/name` is in `owner+name`, `pypi:dist==v` in `pypi+dist==v`."""
    folder = row[f"repo{suffix}"].replace("/", "+").replace(":", "+")
    return f"{folder}/{row[f'path{suffix}']}"


@cache
def largest(name: str) -> tuple[Detection, tuple[float, ...]]:
    """The largest face of a picture with its unit embedding."""
    face = faces_of(name)[0]
    vector = embedded(picture(name), [face])[0].astype(np.float64)
    return face, tuple(vector / np.linalg.norm(vector))


def overlap(one: Box, two: Box) -> float:
    """Intersection over union."""
    wide = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    high = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    return wide * high / (sum(areas) - wide * high)


def wrong(checks: Iterable[tuple[str, bool]]) -> list[str]:
    """The names of the failing checks."""
    return [name for name, passed in checks if not passed]


def test_files_that_are_not_pictures_are_refused() -> None:
    def refused(name: str) -> bool:
        try:
            picture(name)
        except ImageError as error:
            return error.code in {ErrorCode.INVALID_IMAGE, ErrorCode.UNSUPPORTED_IMAGE_TYPE}
        return False

    bad = [name for name, entry in expected().items() if "error" in entry]
    assert len(bad) == 3
    assert wrong((name, refused(name)) for name in bad) == []


def good() -> dict[str, dict[str, Any]]:
    return {name: entry for name, entry in expected().items() if "error" not in entry}


def test_boxes_points_and_sizes_agree_with_the_reference() -> None:
    def agrees(name: str, entry: dict[str, Any]) -> bool:
        image, faces = picture(name), faces_of(name)
        pairs = list(zip(faces, entry["faces"], strict=False))
        return (
            [image.shape[1], image.shape[0]] == entry["size"]
            and len(faces) == len(entry["faces"])
            and all(overlap(face.box, cast("Box", tuple(theirs["box"]))) >= 0.9 for face, theirs in pairs)
            and all(abs(face.score - theirs["score"]) < 0.01 for face, theirs in pairs)
            and all(np.abs(np.subtract(face.landmarks, theirs["points"])).max() < 2 for face, theirs in pairs)
        )

    assert wrong((name, agrees(name, entry)) for name, entry in good().items()) == []


def test_embeddings_agree_with_the_reference() -> None:
    def agrees(name: str, entry: dict[str, Any]) -> bool:
        theirs: NDArray[np.float32] = np.frombuffer(base64.b64decode(entry["embedding"]), "<f4")
        return float(np.dot(largest(name)[1], theirs)) >= 0.99

    assert wrong((name, agrees(name, entry)) for name, entry in good().items() if entry["faces"]) == []


def test_liveness_agrees_with_the_reference() -> None:
    def agrees(name: str, entry: dict[str, Any]) -> bool:
        return bool(abs(liveness(name) - entry["live"]) <= 0.1)

    assert wrong((name, agrees(name, entry)) for name, entry in good().items() if entry["faces"]) == []


def test_every_pair_is_on_the_right_side_of_the_packs_threshold() -> None:
    threshold = engine().info.thresholds.match

    def right(row: Row) -> bool:
        similarity = np.dot(largest(file_of(row))[1], largest(file_of(row, "2"))[1])
        return bool((similarity > threshold) == (row["same"] == "1"))

    pairs = rows("pairs.csv")
    assert len(pairs) == 103
    assert wrong((f"{file_of(row)} {file_of(row, '2')}", right(row)) for row in pairs) == []


def test_every_picture_has_its_number_of_faces() -> None:
    labels = [row for row in rows("detection.csv") if int(row["faces"]) >= 0]
    assert wrong((file_of(row), len(faces_of(file_of(row))) == int(row["faces"])) for row in labels) == []


def test_prints_and_screens_are_distinguished_from_people() -> None:
    limits = engine().info.thresholds

    def right(name: str, expect: str) -> bool:
        score = liveness(name)
        return bool(score >= limits.live if expect == "live" else score < limits.spoof)

    labels = [(file_of(row), row["expect"]) for row in rows("liveness.csv") if row["expect"]]
    assert wrong((name, passed) for (name, _), passed in zip(labels, starmap(right, labels), strict=True)) == []


def attributes_of(image: Image, face: Detection) -> Attributes:
    """All results of the pack for a face."""
    [attributes] = engine().attributes(image, [face], engine().info.attributes)
    return attributes


def mirrored(image: Image, face: Detection) -> tuple[Image, Detection]:
    wide = image.shape[1]
    x1, y1, x2, y2 = face.box
    return np.ascontiguousarray(image[:, ::-1]), replace(face, box=(wide - x2, y1, wide - x1, y2))


def portraits() -> Iterator[tuple[str, Image, Detection]]:
    """The largest face of each picture, if it is at least 80 pixels wide and inside the picture."""
    for name, entry in good().items():
        if entry["faces"]:
            image, face = picture(name), largest(name)[0]
            x1, y1, x2, y2 = face.box
            if x2 - x1 >= 80 and min(x1, y1) >= 0 and x2 <= image.shape[1] and y2 <= image.shape[0]:
                yield name, image, face


def test_the_pack_reports_pose_points_and_eyes() -> None:
    assert set(engine().info.attributes) == {"pose", "points_68", "eyes"}


@pytest.mark.parametrize(
    ("name", "yaw"),
    [
        ("ageitgey+face_recognition/examples/knn_examples/test/obama1.jpg", (12, 28)),
        ("ageitgey+face_recognition/tests/test_images/obama2.jpg", (-26, -10)),
        ("ageitgey+face_recognition/tests/test_images/obama.jpg", (-10, 10)),
        ("exadel-inc+CompreFace/embedding-calculator/sample_images/004_A.jpg", (-10, 10)),
        ("pypi+scikit_image==0.26.0/skimage/data/astronaut.png", (-10, 10)),
    ],
)
def test_a_head_turned_to_the_pictures_right_has_positive_yaw(name: str, yaw: tuple[float, float]) -> None:
    pose = attributes_of(picture(name), largest(name)[0]).pose
    assert pose is not None
    assert yaw[0] < pose.yaw < yaw[1]


def test_a_mirror_image_negates_yaw_and_roll_and_keeps_the_pitch() -> None:
    def off(image: Image, face: Detection) -> tuple[float, float, float]:
        one, other = attributes_of(image, face).pose, attributes_of(*mirrored(image, face)).pose
        assert one is not None
        assert other is not None
        return one.yaw + other.yaw, one.pitch - other.pitch, one.roll + other.roll

    differences = np.array([off(image, face) for _, image, face in portraits()])
    assert len(differences) >= 25
    assert np.abs(np.median(differences, axis=0)).max() < 1.0
    assert np.median(np.abs(differences), axis=0).max() < 4.0


def test_points_lie_where_the_detector_finds_eyes_nose_and_mouth() -> None:
    def near(image: Image, face: Detection) -> bool:
        points = np.array(attributes_of(image, face).points_68)
        five = [points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]]
        off = np.linalg.norm(np.array(five) - face.landmarks, axis=1).mean()
        return bool(off < 0.05 * (face.box[2] - face.box[0]))

    assert wrong((name, near(image, face)) for name, image, face in portraits()) == []


def test_open_eyes_of_a_portrait_are_reported_open() -> None:
    """Most are: a single picture does not prove that an eye is shut."""
    eyes = [attributes_of(image, face).eyes for _, image, face in portraits()]
    both = [pair is not None and min(pair) > 0.5 for pair in eyes]
    assert sum(both) >= 0.8 * len(both)


def test_a_face_that_fills_the_frame_is_found() -> None:
    tight = decode((SIX_FACES.parent / "Tom_Hanks_54745.png").read_bytes(), max_pixels=1_000_000).pixels
    assert len(engine().detect(tight)) == 1


def test_a_close_up_gives_the_embedding_of_the_full_picture() -> None:
    image = decode(SIX_FACES.read_bytes(), max_pixels=40_000_000).pixels
    whole = engine().detect(image)[0]
    left, top, right, bottom = (round(side) for side in whole.box)
    cut = np.ascontiguousarray(image[top:bottom, left:right])
    [face] = engine().detect(cut)
    one, two = embedded(image, [whole])[0], embedded(cut, [face])[0]
    assert float(one @ two / np.linalg.norm(one) / np.linalg.norm(two)) > 0.8


def test_photos_are_sharper_than_the_limit_for_blur() -> None:
    image = decode(SIX_FACES.read_bytes(), max_pixels=40_000_000).pixels
    assert min(measure(image, face).sharpness for face in engine().detect(image)) > 60


def test_the_cropped_canvas_finds_what_the_full_square_finds() -> None:
    manifest = installed(models_dir(), "compact")
    file = manifest.file("detection")
    assert file is not None
    session = open_session(prepared(models_dir() / "compact", file), choose_device("cpu"))
    least = manifest.thresholds.detection
    full, trimmed = (Detector(session, manifest.detection, threshold=least, trimmed=short) for short in (False, True))

    def agrees(name: str) -> bool:
        image = picture(name)
        wide, narrow = full.detect(image), trimmed.detect(image)
        pairs = list(zip(wide, narrow, strict=False))
        if len(wide) != len(narrow) or not all(overlap(one.box, two.box) >= 0.95 for one, two in pairs):
            return False
        ours, theirs = (embedded(image, faces).astype(np.float64) for faces in (narrow, wide))
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        return bool(((ours * theirs).sum(axis=1) >= 0.99 * lengths).all())

    assert wrong((name, agrees(name)) for name in good()) == []


def test_eight_threads_get_identical_bits() -> None:
    names = [name for name, entry in good().items() if entry["faces"]][:12]
    images = [picture(name) for name in names]

    def read(image: Image) -> tuple[list[Detection], bytes, float | None]:
        faces = engine().detect(image)
        return faces, embedded(image, faces).tobytes(), engine().liveness(image, faces[0])

    alone = [read(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, images * 2)) == alone * 2
