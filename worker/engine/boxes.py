"""Compute the image region around a box that a model sees."""

from worker.engine.base import Image


def stretched(box: tuple[float, float, float, float], *, room: float, image: Image) -> tuple[int, int, int, int]:
    """Return the box scaled by `room` about its center and clipped to the image; for a square input it is stretched.

    Returns:
        Left, top, right and bottom in pixels, the last two exclusive; never empty, never outside the image.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (int(side) for side in box)
    across, down = (x2 - x1) * (room - 1) / 2, (y2 - y1) * (room - 1) / 2
    left, top = min(max(int(x1 - across), 0), width - 1), min(max(int(y1 - down), 0), height - 1)
    return left, top, min(max(int(x2 + across), left + 1), width), min(max(int(y2 + down), top + 1), height)
