"""Valid pictures cut at every boundary or with random byte changes, reproducible by seed."""

import random
from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.corpus.cases import STILL, TAKEN, Case
from tests.unit.api.pictures import BMP, JPEG, PNG, WEBP, saved

WHOLE: Final = {
    "jpeg": JPEG,
    "progressive": saved("JPEG", progressive=True),
    "cmyk": saved("JPEG", mode="CMYK"),
    "png": PNG,
    "palette": saved("PNG", mode="P"),
    "transparent": saved("PNG", mode="RGBA"),
    "webp": WEBP,
    "lossless": saved("WEBP", mode="RGBA", lossless=True),
    "bmp": BMP,
}
ANY: Final = frozenset(
    {TAKEN, "invalid_image", "unsupported_image_type", "image_dimensions_too_large", "animated_image", "empty_image"}
)
LEAST: Final = ANY - {TAKEN}
ENDED: Final = frozenset({"jpeg", "cmyk"})
"""Valid without their last two bytes, which only mark the end of the picture."""


def _cut(whole: bytes, at: int) -> bytes:
    return whole[:at]


def cuts() -> Iterator[Case]:
    """Each format, cut at 40 places spread over the file and at its last 20 bytes."""
    for kind, whole in WHOLE.items():
        places = {len(whole) * part // 40 for part in range(40)} | {len(whole) - left for left in range(1, 21)}
        for at in sorted(places):
            only_its_end = kind in ENDED and at >= len(whole) - 2
            yield Case(f"cut: {kind} at {at}", partial(_cut, whole, at), STILL if only_its_end else LEAST)


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Apply up to eight changes of a few bytes each: overwritten, repeated or removed."""
    data = bytearray(whole)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + 4] = chance.choice(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0"]
                )
            case 2:
                data[at:at] = data[at : at + chance.randint(1, 64)]
            case _:
                del data[at : at + chance.randint(1, 16)]
                data = data or bytearray(b"\0")
    return bytes(data)


def changes(*, count: int, seed: int) -> Iterator[Case]:
    """This many damaged pictures."""
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    kinds = sorted(WHOLE)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        data = damaged(WHOLE[kind], chance)
        yield Case(f"damage: {kind}, seed {seed}, no. {number}", partial(bytes, data), ANY)
