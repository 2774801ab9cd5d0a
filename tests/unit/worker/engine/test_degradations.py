"""Damages for measurements: always the same, in proportion to the face, and each one of the kind that it says."""

from typing import get_args

import cv2
import numpy as np
import pytest

from tests.pictures import Pixels
from worker.engine.base import Detection
from worker.engine.degradations import (
    DEGRADATIONS,
    GLASSES,
    KINDS,
    MASK,
    Kind,
    blurred,
    degraded,
    resampled,
    scaled,
    turned,
)

FACE = Detection((40.0, 30.0, 120.0, 130.0), ((62, 70), (98, 70), (80, 90), (66, 108), (94, 108)), 0.9)


def picture(seed: int = 1) -> Pixels:
    """A picture of 200x160 with coarse structure and fine grain."""
    random = np.random.default_rng(seed)
    coarse = cv2.resize(random.integers(40, 200, (8, 10, 3), np.uint8), (200, 160), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(coarse.astype(int) + random.integers(-20, 20, coarse.shape), 0, 255), np.uint8)


def sharpness(image: Pixels) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var())


def loss(kind: Kind) -> float:
    return float(np.abs(degraded(picture(), FACE, kind).astype(float) - picture()).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_pure_deterministic_and_changes_the_picture(kind: Kind) -> None:
    image = picture()
    damaged = degraded(image, FACE, kind)
    assert np.array_equal(image, picture()), "the picture given was changed"
    assert damaged.dtype == np.uint8
    assert damaged.flags.c_contiguous
    assert np.array_equal(damaged, degraded(picture(), FACE, kind))
    assert damaged.shape != image.shape or not np.array_equal(damaged, image)


@pytest.mark.parametrize("kind", KINDS)
def test_only_rotations_move_the_face(kind: Kind) -> None:
    damage = DEGRADATIONS[kind]
    assert damage.moves_face == kind.startswith("turned")
    if not damage.moves_face:
        assert damage.apply(picture(), FACE).shape == picture().shape


def test_the_table_has_every_kind_in_order() -> None:
    assert tuple(DEGRADATIONS) == KINDS == get_args(Kind)


def test_turns_are_clockwise_and_add_up() -> None:
    image = picture()
    assert np.array_equal(turned(image, 90), np.rot90(image, -1))
    assert np.array_equal(turned(turned(image, 90), 270), image)
    assert np.array_equal(turned(turned(image, 90), 90), turned(image, 180))


@pytest.mark.parametrize(("kind", "share"), [("light_5", 0.05), ("light_2", 0.02)])
def test_low_light_keeps_its_share(kind: Kind, share: float) -> None:
    image = picture()
    assert np.array_equal(degraded(image, FACE, kind), np.rint(image * np.float32(share)).astype(np.uint8))


def test_noise_comes_from_its_seed_alone() -> None:
    noisy, dark = (degraded(picture(), FACE, kind).astype(float) for kind in ("light_5_noisy", "light_5"))
    assert 1.0 < (noisy - dark).std() < 2.5


def test_overexposed_highlights_are_clipped() -> None:
    image = picture()
    damaged = degraded(image, FACE, "overexposed")
    assert (damaged[image > 85] == 255).all()


def test_more_blur_leaves_less_detail() -> None:
    kinds = [kind for kind in KINDS if kind.startswith("blur_")]
    lost = [loss(kind) for kind in kinds]
    assert lost == sorted(lost)
    assert sharpness(degraded(picture(), FACE, kinds[0])) < sharpness(picture()) / 10


def test_blur_is_in_proportion_to_the_face() -> None:
    image = picture()
    wide = Detection((20.0, 30.0, 180.0, 130.0), FACE.landmarks, 0.9)
    assert np.array_equal(blurred(image, FACE, 0.10), blurred(image, wide, 0.05))


def test_motion_blur_spares_vertical_detail() -> None:
    rows = np.repeat(np.where(np.arange(160)[:, None] // 4 % 2, 200, 50), 200, axis=1)
    across = np.ascontiguousarray(np.repeat(rows[:, :, None], 3, axis=2), np.uint8)
    down = turned(across, 90)
    assert np.array_equal(degraded(across, FACE, "motion_blur"), across)
    assert sharpness(degraded(down, FACE, "motion_blur")) < sharpness(down) / 10


def test_small_faces_lose_detail_with_their_width() -> None:
    lost = [loss(kind) for kind in KINDS if kind.endswith("_px")]
    assert lost == sorted(lost)


@pytest.mark.parametrize("width", [20, 100, 160])
def test_scaled_pictures_have_a_face_of_the_width_asked_for(width: int) -> None:
    high, wide = scaled(picture(), FACE, width).shape[:2]
    assert (wide, high) == (round(200 * width / 80), 160 * width // 80)


def test_resampled_pictures_have_a_face_of_100_pixels() -> None:
    assert resampled(picture(), FACE).shape == (200, 250, 3)


def test_covers_lie_where_they_say_and_nowhere_else() -> None:
    image = picture()
    lower, eyes = (degraded(image, FACE, kind) for kind in ("lower_half_covered", "eyes_covered"))
    assert (lower[90:130, 40:120] == MASK).all()
    assert np.array_equal(lower[:90], image[:90])
    assert (eyes[70, 40:120] == GLASSES).all()
    assert np.array_equal(eyes[90:], image[90:])


def test_a_negative_of_a_negative_is_the_picture() -> None:
    image = picture()
    assert np.array_equal(degraded(degraded(image, FACE, "negative"), FACE, "negative"), image)
