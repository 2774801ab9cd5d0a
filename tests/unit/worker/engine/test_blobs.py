"""What a model is fed equals what OpenCV's own blob holds, bit for bit."""

import cv2
import numpy as np
import pytest

from worker.engine.blobs import grey, planar, scaled


@pytest.mark.parametrize(("mean", "scale"), [(127.5, 1 / 128), (127.5, 1 / 127.5), (0.0, 1.0), (0.0, 1 / 255)])
@pytest.mark.parametrize("shape", [(112, 112), (37, 64), (1, 1)])
def test_a_batch_is_what_opencv_makes_of_it(mean: float, scale: float, shape: tuple[int, int]) -> None:
    images = list(np.random.default_rng(3).integers(0, 256, (3, *shape, 3), np.uint8))
    theirs = cv2.dnn.blobFromImages(images, scale, shape[::-1], (mean,) * 3, swapRB=True)
    np.testing.assert_array_equal(planar(images, scaled(mean=mean, scale=scale), order="rgb"), theirs)


def test_the_order_of_colours_is_the_one_asked_for() -> None:
    blue = np.zeros((1, 2, 2, 3), np.uint8)
    blue[..., 0] = 200
    table = scaled(mean=0.0, scale=1.0)
    assert [planar(blue, table, order="bgr")[0, n, 0, 0] for n in range(3)] == [200, 0, 0]
    assert [planar(blue, table, order="rgb")[0, n, 0, 0] for n in range(3)] == [0, 0, 200]


def test_each_plane_may_have_a_table_of_its_own() -> None:
    images = list(np.random.default_rng(5).integers(0, 256, (2, 8, 9, 3), np.uint8))
    own = np.stack([scaled(mean=10.0 * n, scale=1 / (n + 1)) for n in range(3)])
    for n in range(3):
        alone = planar(images, scaled(mean=10.0 * n, scale=1 / (n + 1)), order="rgb")
        np.testing.assert_array_equal(planar(images, own, order="rgb")[:, n], alone[:, n])


def test_grey_is_one_plane_as_opencv_sees_grey() -> None:
    images = list(np.random.default_rng(6).integers(0, 256, (3, 24, 20, 3), np.uint8))
    blob = grey(images, scaled(mean=0.0, scale=1 / 256))
    assert (blob.shape, blob.dtype) == ((3, 1, 24, 20), np.dtype(np.float32))
    for image, [plane] in zip(images, blob, strict=True):
        np.testing.assert_allclose(plane, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) / 256)
