"""Draw the trade-off between false matches and false non-matches as SVG: ROC beside DET."""

import math
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from worker.evaluation.rates import Scores

SIDE: Final = 360
LEFT: Final = 70
TOP: Final = 60
GAP: Final = 110
PEN: Final = {"line": "#1b5e9e", "grid": "#d8d8d8", "text": "#222222", "mark": "#b3261e"}

Place = tuple[float, float]


def drawing(scores: Scores, *, title: str, marks: Sequence[tuple[float, float]] = ()) -> str:
    """Return an SVG document with both curves; `marks` are pairs of FMR and threshold to highlight.

    The axes end at one error among all pairs, the lowest rate that can be observed. The DET curve has logarithmic
    scales, which are easier to read than the normal deviates of Martin et al. (1997).
    """
    fmr, fnmr = scores.curve()
    least_fmr, least_fnmr = 1 / len(scores.impostor), 1 / len(scores.genuine)
    across, down = (min(-1, math.floor(math.log10(least))) for least in (least_fmr, least_fnmr))
    points = [
        (max(float(false), least_fmr), float(missed)) for false, missed in zip(fmr, fnmr, strict=True) if missed < 1
    ]
    shown = [
        (max(rate, least_fmr), scores.fnmr(threshold).share, f"{rate:g} at {threshold:g}") for rate, threshold in marks
    ]

    def on_det(false: float, missed: float) -> Place:
        return _log(false, across), _log(max(missed, least_fnmr), down)

    roc = _panel(
        LEFT,
        heading="ROC",
        names=("false-match rate", "true-match rate"),
        decades=(across, None),
        line=[(_log(false, across), 1 - missed) for false, missed in points],
        marks=[((_log(false, across), 1 - missed), "") for false, missed, _ in shown],
    )
    det = _panel(
        LEFT + SIDE + GAP,
        heading="DET",
        names=("false-match rate", "false-non-match rate"),
        decades=(across, down),
        line=[on_det(false, missed) for false, missed in points],
        marks=[(on_det(false, missed), text) for false, missed, text in shown],
    )
    return _document(title, [*roc, *det])


def _document(title: str, parts: Sequence[str]) -> str:
    width, height = LEFT + 2 * SIDE + GAP + 40, TOP + SIDE + 60
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            _text(width / 2, 24, title, size=15),
            *parts,
            "</svg>\n",
        ]
    )


def _log(rate: float, decade: int) -> float:
    """Return the position of a rate on an axis from 10^decade to 1, as a share of its length."""
    return 1 - math.log10(rate) / decade


def _panel(
    left: float,
    *,
    heading: str,
    names: tuple[str, str],
    decades: tuple[int, int | None],
    line: Sequence[Place],
    marks: Sequence[tuple[Place, str]],
) -> list[str]:
    across, down = decades

    def at(place: Place) -> Place:
        return left + place[0] * SIDE, TOP + (1 - place[1]) * SIDE

    parts = [_text(left + SIDE / 2, TOP - 10, heading, size=13)]
    for power in range(across, 1):
        x, bottom = at((1 - power / across, 0))
        parts += [_rule(x, TOP, x, bottom), _text(x, bottom + 18, f"{10.0**power:g}")]
    linear = [(step / 5, f"{step / 5:g}") for step in range(6)]
    for share, label in linear if down is None else [(1 - p / down, f"{10.0**p:g}") for p in range(down, 1)]:
        x, y = at((0, share))
        parts += [_rule(x, y, x + SIDE, y), _text(x - 8, y + 4, label, anchor="end")]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, line))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{PEN["line"]}" stroke-width="2"/>')
    for place, label in marks:
        x, y = at(place)
        beside, anchor = (x - 7, "end") if place[0] > 0.6 else (x + 7, "start")  # noqa: PLR2004 - inside the panel
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{PEN["mark"]}"/>')
        parts.append(_text(beside, y - 8, label, anchor=anchor, colour=PEN["mark"]))
    parts.append(_text(left + SIDE / 2, TOP + SIDE + 40, names[0]))
    middle = TOP + SIDE / 2
    turned = _text(left - 46, middle, names[1])
    parts.append(turned.replace("<text ", f'<text transform="rotate(-90 {left - 46:.1f} {middle:.1f})" ', 1))
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{PEN["grid"]}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "middle", size: int = 12, colour: str = PEN["text"]) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"
