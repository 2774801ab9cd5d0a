"""The pose model sees what it was trained with, and its bins become degrees."""

import cv2
import numpy as np
import pytest

from tests.unit.worker.engine.sessions import Blob, ScriptedSession
from worker.engine.base import HeadPose
from worker.engine.head import HeadPoseModel

IMAGE = np.random.default_rng(4).integers(0, 256, (300, 400, 3), np.uint8)
BOX = (100.0, 60.0, 190.0, 180.0)


def bins(number: int) -> Blob:
    """Logits that leave no doubt about a bin."""
    logits = np.zeros((1, 66), np.float32)
    logits[0, number] = 100
    return logits


def read(yaw: Blob, pitch: Blob, roll: Blob) -> tuple[HeadPose, Blob]:
    session = ScriptedSession(lambda _: [yaw, pitch, roll], shape=(None, 3, 224, 224), outputs=3)
    pose = HeadPoseModel(session).read(IMAGE, BOX)
    return pose, session.seen[0]


def test_the_center_of_a_bin_is_its_angle_and_yaw_changes_sign() -> None:
    pose, _ = read(bins(40), bins(33), bins(20))
    assert pose[:3] == pytest.approx((1.5, -22.5, -37.5))
    assert pose.method == "model"


def test_two_bins_share_by_their_chance() -> None:
    pose, _ = read(bins(0), bins(30) + bins(32), bins(33))
    assert pose.pitch == pytest.approx(-4.5)


def test_its_input_is_the_enlarged_box_in_rgb_normalized_for_imagenet() -> None:
    _, seen = read(bins(33), bins(33), bins(33))
    crop = cv2.resize(IMAGE[30:210, 77:212], (224, 224))[:, :, ::-1] / 255
    expected = (crop - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(seen[0], expected.transpose(2, 0, 1), atol=1e-5)
