"""The drawing is one well-formed SVG whose line stays inside of its axes."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from worker.evaluation.curves import LEFT, SIDE, TOP, drawing
from worker.evaluation.rates import Scores, points

SPACE = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("impostors", [1, 80, 40_000])
def test_lines_and_marks_stay_inside_of_the_axes(impostors: int) -> None:
    rng = np.random.default_rng(5)
    scores = Scores(rng.uniform(0.3, 1, 60).astype(np.float32), rng.uniform(-0.4, 0.6, impostors).astype(np.float32))
    marks = [(point.fmr, point.threshold) for point in points(scores.impostors)]
    root = ET.fromstring(drawing(scores, title="<pack> & co", marks=marks))  # noqa: S314 - our own
    lines = root.findall(f"{SPACE}polyline")
    assert len(lines) == 2
    assert len(root.findall(f"{SPACE}circle")) == 2 * len(marks)
    for line in lines:
        for x, y in re.findall(r"([\d.-]+),([\d.-]+)", line.attrib["points"]):
            assert LEFT <= float(x) <= LEFT + 2 * SIDE + 200
            assert TOP - 0.1 <= float(y) <= TOP + SIDE + 0.1
    assert root.findtext(f"{SPACE}text") == "<pack> & co"
