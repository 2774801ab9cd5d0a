"""Measures the centroids of unrecognizable faces of a recognition model, on damaged copies of known portraits.

One centroid for each kind of damage finds more than one for all: faces in the dark and faces with a covered mouth lie
in different places. The mean of the undamaged portraits is removed from each centroid: what the portraits have in
common (few people, one camera) must not count as damage.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from shared.errors import SettingsError, VultusError
from shared.faces import Strict
from worker.engine import align
from worker.engine.base import Crops, Image, Vectors
from worker.engine.degradations import Kind, degraded
from worker.engine.devices import Device
from worker.engine.portraits import Portrait, at_hand
from worker.engine.recogniser import Recogniser
from worker.engine.sessions import open_session
from worker.packs.manifests import Manifest
from worker.packs.recognisability import Measure

Family = Literal[
    "dark", "blur", "slight_blur", "motion", "upside_down", "sideways", "overexposed", "mouth", "eyes", "negative"
]
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
"""One centroid each."""
TURNS: Final[Mapping[Kind, int]] = {"turned_90": 3, "turned_180": 2, "turned_270": 1}
"""Quarters by which a turned face's crop is rotated: the five points of such faces are found as if it were upright."""
MEASURED: Final = Path(__file__).parent / "measured"
"""Results for known recognition models, one file each, by the checksum of the model."""
MANY_PEOPLE: Final = 20
"""Portraits from which on covers are measured as well: of fewer, what is covered cannot be told from who it is."""
MAX_SIMILARITY: Final = 0.31
MAX_ROLL: Final = 40.0
"""Provisional limits of models that nobody has measured on labelled pictures."""
LEAST_CHANGE: Final = 1e-6
"""Of the largest number of a unit vector: what is below is rounding."""
BATCH: Final = 8
_STEPS: Final = 127

Embed = Callable[[Crops], Vectors]
"""Raw embeddings of aligned faces; shape (n, dimension)."""


class Measurement(Strict):
    """Centroids of one recognition model, with the limits that go with them."""

    format: Literal[1]
    recogniser: str = Field(pattern=r"^[0-9a-f]{64}$", description="Checksum of the recognition model.")
    pictures: tuple[str, ...] = Field(min_length=1, description="Checksums of the pictures with the portraits.")
    portraits: int = Field(ge=1)
    max_similarity: float = Field(default=MAX_SIMILARITY, ge=-1, le=1)
    min_length: float | None = Field(default=None, ge=0, description="Null where it was not measured.")
    max_roll: float = Field(default=MAX_ROLL, ge=0, le=180)
    stricter: dict[Family, float] = Field(
        default_factory=dict, description="By how much the limit of a family is below `max_similarity`."
    )
    centroids: dict[Family, str] = Field(description="Directions as signed bytes in base64.")

    def measure(self) -> Measure:
        """What an engine holds embeddings against."""
        rows = [np.frombuffer(base64.b64decode(text), np.int8).astype(np.float64) for text in self.centroids.values()]
        return Measure(
            centroids=tuple(tuple(_unit(row).tolist()) for row in rows),
            stricter=tuple(self.stricter.get(family, 0.0) for family in self.centroids),
            max_similarity=self.max_similarity,
            min_length=self.min_length,
            max_roll=self.max_roll,
        )


def measured(folder: Path, manifest: Manifest, *, cache: Path | None = None) -> Measurement | str:
    """Measure the recognition model of the pack in `folder` on the portraits at hand; a phrase where that fails.

    The original model runs on the CPU, and the centroids are rounded: the same model and portraits give the same bytes.

    Args:
        folder: the pack's files.
        manifest: the pack's manifest.
        cache: folder of downloaded archives, which may hold more portraits than installed packages do.
    """
    pictures, portraits = at_hand(cache)
    if not portraits:
        return "no portrait is at hand: scikit-image is not installed, or is another version"
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
    """The centroid of each family, in base64; a family that leaves the embeddings as they are has none."""
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


def known(recogniser: str) -> Measurement | None:
    """The measurement that comes with this version for a recognition model, by its checksum.

    Raises:
        SettingsError: the file is damaged.
    """
    path = MEASURED / f"{recogniser}.json"
    if not path.is_file():
        return None
    try:
        return Measurement.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        msg = f"{path} is not a measurement of recognizability"
        raise SettingsError(msg) from None


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
