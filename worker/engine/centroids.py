"""Measure where a recognition model embeds unrecognizable faces: the centroids of degraded copies of known portraits.

One centroid per kind of degradation detects more than one for all: dark faces and faces with a covered mouth lie in
different regions. The mean of the undegraded portraits is removed from each centroid, so that what the portraits have
in common (few people, one camera) does not count as degradation.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import SettingsError, VultusError
from worker.engine import align
from worker.engine.base import Crops, Image, Vectors
from worker.engine.degradations import Kind, degraded
from worker.engine.devices import Device
from worker.engine.portraits import Portrait, at_hand
from worker.engine.recogniser import Recogniser
from worker.engine.sessions import open_session
from worker.packs.manifests import Manifest
from worker.packs.measurements import Family, Measurement

FAMILIES: Final[Mapping[Family, tuple[Kind, ...]]] = {
    "dark": ("light_5", "light_2", "light_5_noisy"),
    "blur": ("blur_7", "blur_10", "blur_12"),
    "slight_blur": ("blur_4",),
    "motion": ("motion_blur",),
    "upside_down": ("turned_180",),
    "sideways": ("turned_90", "turned_270"),
    "overexposed": ("overexposed",),
    "mouth": ("lower_half_covered",),
    "eyes": ("eyes_covered",),
    "negative": ("negative",),
}
"""Families, with one centroid each."""
TURNS: Final[Mapping[Kind, int]] = {"turned_90": 3, "turned_180": 2, "turned_270": 1}
"""Quarter turns of the crop of a rotated face: detectors place the five points as if the face were upright."""
MANY_PEOPLE: Final = 20
"""Minimum number of portraits to measure covers: with fewer, the cover cannot be separated from the identities."""
LEAST_CHANGE: Final = 1e-6
"""Smallest relevant value of the largest component of a unit vector; less is rounding."""
BATCH: Final = 8
_STEPS: Final = 127

Embed = Callable[[Crops], Vectors]
"""Raw embeddings of aligned faces; shape (n, dimension)."""


def measured(folder: Path, manifest: Manifest, *, cache: Path | None = None) -> Measurement | str:
    """Measure the recognition model of the pack in `folder` on the available portraits; return a reason on failure.

    The original model runs on the CPU, and the centroids are rounded, so that the same model and portraits always
    produce the same bytes.

    Args:
        folder: the pack's files.
        manifest: the pack's manifest.
        cache: folder of downloaded archives, which may contain more portraits than installed packages do.
    """
    pictures, portraits = at_hand(cache)
    if not portraits:
        return "no portraits available: scikit-image is not installed, or has another version"
    file = manifest.recogniser
    try:
        session = open_session(folder / file.name, Device())
        model = Recogniser(session, dimension=manifest.embedding_size, batch=BATCH)
        return _measured(file.sha256, model.embed, pictures, portraits)
    except (SettingsError, VultusError) as error:
        return str(error)


def _measured(recogniser: str, embed: Embed, pictures: Sequence[str], portraits: Sequence[Portrait]) -> Measurement:
    families = [name for name in FAMILIES if len(portraits) >= MANY_PEOPLE or name not in {"mouth", "eyes"}]
    return Measurement(
        format=1,
        recogniser=recogniser,
        pictures=tuple(pictures),
        portraits=len(portraits),
        centroids=centroids(portraits, embed, families),
    )


def centroids(portraits: Sequence[Portrait], embed: Embed, families: Sequence[Family]) -> dict[Family, str]:
    """Return the centroid of each family in base64; a family that does not change the embeddings has none."""
    clean = _mean(portraits, embed, None)
    texts: dict[Family, str] = {}
    for family in families:
        mean = np.mean([_mean(portraits, embed, kind) for kind in FAMILIES[family]], axis=0)
        rest = mean - clean * (mean @ clean) / (clean @ clean)
        if (largest := np.abs(rest).max()) < LEAST_CHANGE:
            continue
        steps = np.rint(rest / largest * _STEPS).astype(np.int8)
        texts[family] = base64.b64encode(steps.tobytes()).decode()
    return texts


def _mean(portraits: Sequence[Portrait], embed: Embed, kind: Kind | None) -> NDArray[np.float64]:
    crops = np.concatenate([_crop(portrait, kind) for portrait in portraits])
    units = [_unit(row) for row in np.asarray(embed(crops), np.float64)]
    return np.asarray(np.mean(units, axis=0))


def _crop(portrait: Portrait, kind: Kind | None) -> Crops:
    if kind is not None and kind in TURNS:
        upright = align.crops(portrait.image, [portrait.face])[0]
        return np.ascontiguousarray(np.rot90(upright, TURNS[kind]))[None]
    image: Image = portrait.image if kind is None else degraded(portrait.image, portrait.face, kind)
    return align.crops(image, [portrait.face])


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), np.finfo(np.float64).tiny))
