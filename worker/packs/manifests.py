"""Model packs: the manifest, the catalog, and the integrity check of an installed pack."""

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from shared.errors import SettingsError
from shared.faces import Strict
from worker.packs.calibration import Calibration
from worker.packs.thresholds import Thresholds

MANIFEST: Final = "manifest.json"
CATALOG: Final = Path(__file__).parent / "catalog"
PREPROCESSING_VERSION: Final = "1"
"""Part of every embedding contract. Increment it when a change of this engine's arithmetic changes embeddings."""
ALIGNMENT: Final = "similarity-5-arcface-112"

Role = Literal[
    "detection", "recognition", "liveness", "age_gender", "landmarks_106", "landmarks_68", "points_68", "pose", "eyes"
]
Preprocessing = Literal[
    "scrfd-5",
    "arcface-112-rgb",
    "context-2.7-bgr-128",
    "minifas-2.7-bgr-80",
    "minifas-4.0-bgr-80",
    "aligned-80-rgb",
    "box-1.5-rgb-96",
    "box-1.5-rgb-192",
    "stretched-1.0-grey-64",
    "stretched-1.5-rgb-224",
    "eye-1.6-grey-24",
]
Precision = Literal["f32", "bf16"]
PREPROCESSINGS: Final[dict[Role, tuple[Preprocessing, ...]]] = {
    "detection": ("scrfd-5",),
    "recognition": ("arcface-112-rgb",),
    "liveness": ("context-2.7-bgr-128", "minifas-2.7-bgr-80", "minifas-4.0-bgr-80", "aligned-80-rgb"),
    "age_gender": ("box-1.5-rgb-96",),
    "landmarks_106": ("box-1.5-rgb-192",),
    "landmarks_68": ("box-1.5-rgb-192",),
    "points_68": ("stretched-1.0-grey-64",),
    "pose": ("stretched-1.5-rgb-224",),
    "eyes": ("eye-1.6-grey-24",),
}
"""The preprocessing that this engine supports for each role; docs/models.md describes them."""
NEEDED: Final[tuple[Role, ...]] = ("detection", "recognition")

PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
UNCONFIRMED: Final = "unconfirmed"
"""Placeholder for a checksum that no independent source confirms. Installation records the actual one instead."""
Checksum = Annotated[str, Field(pattern=rf"^([0-9a-f]{{64}}|{UNCONFIRMED})$")]
Size = Annotated[int, Field(ge=1)]


class SdistArchive(Strict):
    """The source archive of a Python package, fetched with pip."""

    kind: Literal["pip-sdist"]
    archive: PlainName
    sha256: Checksum
    package: PlainName
    version: PlainName


class NpmArchive(Strict):
    """The archive of an npm package, fetched with `npm pack` (never installed)."""

    kind: Literal["npm"]
    archive: PlainName
    sha256: Checksum
    package: PlainName
    version: PlainName


class ZipArchive(Strict):
    """A zip file at a URL; plain http is allowed only for this machine."""

    kind: Literal["zip-url"]
    archive: PlainName
    sha256: Checksum
    size: Size | None = None
    url: str = Field(pattern=r"^(https://|http://127\.0\.0\.1[:/])")


Archive = Annotated[SdistArchive | NpmArchive | ZipArchive, Field(discriminator="kind")]


class LivenessLimits(Strict):
    """Thresholds of one liveness model, which override those of the pack."""

    live: float = Field(ge=0, le=1)
    spoof: float = Field(ge=0, le=1)


class PackFile(Strict):
    """One model file of a pack."""

    name: PlainName
    sha256: Checksum
    size: Size | None = Field(default=None, description="Bytes, if known; the hash is authoritative.")
    role: Role | None = Field(default=None, description="Purpose in the engine; null is kept but not loaded.")
    preprocessing: Preprocessing | None = None
    archive: PlainName | None = Field(default=None, description="Archive that contains it; null if there is none.")
    member: str | None = Field(default=None, description="Path within that archive.")
    optional: bool = Field(default=False, description="May be absent; if present, its hash must match.")
    limits: LivenessLimits | None = Field(default=None, description="Thresholds of this liveness model.")

    @model_validator(mode="after")
    def _checked(self) -> "PackFile":
        if self.archive is None and self.sha256 == UNCONFIRMED:
            msg = f"{self.name}: a file without an archive needs a checksum"
            raise ValueError(msg)
        return self


class Licence(Strict):
    """What the publisher permits, in one paragraph."""

    text: str
    url: str
    must_accept: bool = Field(description="Installation requires acceptance and records it.")


class DetectionPlan(Strict):
    """How the detector searches an image."""

    input_sizes: tuple[tuple[int, int], ...] = Field(
        default=((640, 640),), min_length=1, description="Width and height of each pass; the passes are merged."
    )
    retry_margins: tuple[float, ...] = Field(
        default=(0.5, 0.25),
        description="Gray borders, as a fraction of each side, to retry with in this order if no face is detected.",
    )


class RecognisabilityLimits(Strict):
    """Overrides of measured recognisability limits; `make calibrate` suggests values. Null keeps the measured one."""

    max_similarity: float | None = Field(default=None, ge=-1, le=1, description="Cosine to the nearest centroid.")
    min_length: float | None = Field(default=None, ge=0, description="Length of the raw embedding.")
    max_roll: float | None = Field(default=None, ge=0, le=180, description="Degrees to either side, by five points.")


class Manifest(Strict):
    """A pack: its files with their hashes and preprocessing, and the limits that were measured for them."""

    format: Literal[1]
    name: PlainName
    licence: Licence
    embedding_size: int = Field(ge=1, le=4096)
    thresholds: Thresholds
    calibration: Calibration | None = Field(default=None, description="Measured false-match rates by threshold.")
    recognisability: RecognisabilityLimits | None = None
    detection: DetectionPlan = DetectionPlan()
    archives: tuple[Archive, ...] = ()
    files: tuple[PackFile, ...]
    recorded: tuple[PlainName, ...] = Field(
        default=(), description="Archives and files whose checksums the installation recorded."
    )

    @model_validator(mode="after")
    def _complete(self) -> "Manifest":
        roles = [file.role for file in self.files if file.role is not None]
        repeated = {role for role in roles if roles.count(role) > 1} - {"liveness"}
        if any(roles.count(role) != 1 for role in NEEDED) or repeated:
            msg = (
                "a pack needs one detection file, one recognition file, and at most one of each other role but liveness"
            )
            raise ValueError(msg)
        if "eyes" in roles and "points_68" not in roles:
            msg = "an eyes file needs a points_68 file, which locates the eyes"
            raise ValueError(msg)
        for file in self.files:
            if file.role is not None and file.preprocessing not in PREPROCESSINGS[file.role]:
                msg = f"{file.name}: preprocessing of {file.role} must be {' or '.join(PREPROCESSINGS[file.role])}"
                raise ValueError(msg)
            if file.optional and file.role in NEEDED:
                msg = f"{file.name}: the {file.role} file cannot be optional"
                raise ValueError(msg)
            if file.limits is not None and file.role != "liveness":
                msg = f"{file.name}: only a liveness file may have limits"
                raise ValueError(msg)
            if file.archive is not None and (file.archive not in self.archive_names or file.member is None):
                msg = f"{file.name}: its archive is not listed in the manifest, or its member is missing"
                raise ValueError(msg)
        if len({file.name for file in self.files}) != len(self.files):
            msg = "two files have the same name"
            raise ValueError(msg)
        if self.calibration and self.calibration.contract not in map(self.contract, get_args(Precision)):
            msg = f"the calibration is for {self.calibration.contract}, which is not an embedding contract of this pack"
            raise ValueError(msg)
        return self

    @property
    def archive_names(self) -> frozenset[str]:
        """The names of all archives."""
        return frozenset(archive.archive for archive in self.archives)

    @property
    def unconfirmed_archives(self) -> tuple[str, ...]:
        """The names of the archives without a known checksum; the checksums of the others cover their contents."""
        return tuple(archive.archive for archive in self.archives if archive.sha256 == UNCONFIRMED)

    @property
    def trusted_archives(self) -> tuple[str, ...]:
        """The names of the archives that were trusted on first use."""
        return tuple(name for name in self.recorded if name in self.archive_names)

    def with_checksums(self, checksums: Mapping[str, str]) -> "Manifest":
        """Return a copy in which these checksums, by name, replace the unconfirmed ones."""
        archives = tuple(each.model_copy(update=_known(each, each.archive, checksums)) for each in self.archives)
        files = tuple(file.model_copy(update=_known(file, file.name, checksums)) for file in self.files)
        unknown = {archive.archive for archive in self.archives if archive.sha256 == UNCONFIRMED}
        unknown |= {file.name for file in self.files if file.sha256 == UNCONFIRMED}
        recorded = tuple(sorted({*self.recorded, *(unknown & checksums.keys())}))
        return self.model_copy(update={"archives": archives, "files": files, "recorded": recorded})

    def file(self, role: Role) -> PackFile | None:
        """Return the file of this role, or None if the pack has none."""
        return next((file for file in self.files if file.role == role), None)

    @property
    def recogniser(self) -> PackFile:
        """The recognition file; every pack has one."""
        return next(file for file in self.files if file.role == "recognition")

    def files_of(self, role: Role) -> tuple[PackFile, ...]:
        """Return the files of this role in order; only liveness may have several, whose scores are averaged."""
        return tuple(file for file in self.files if file.role == role)

    def present(self, folder: Path) -> "Manifest":
        """Return a copy without the optional files that `folder` lacks, with the thresholds of the remaining files.

        If every liveness file has its own limits, they replace those of the pack, averaged as the scores are.
        """
        files = tuple(file for file in self.files if not file.optional or (folder / file.name).is_file())
        here = self.model_copy(update={"files": files})
        own = [file.limits for file in here.files_of("liveness")]
        known = [limits for limits in own if limits is not None]
        if not known or len(known) < len(own):
            return here
        live, spoof = (sum(getattr(limits, name) for limits in known) / len(known) for name in ("live", "spoof"))
        return here.model_copy(update={"thresholds": replace(self.thresholds, live=live, spoof=spoof)})

    def contract(self, precision: Precision) -> str:
        """Return the embedding contract; only embeddings of the same contract are comparable.

        It covers the recogniser, its preprocessing, the alignment, the engine's version, and the precision: bf16
        changes embeddings by up to 0.0006 in cosine.
        """
        recognition = next(file for file in self.files if file.role == "recognition")
        return contract_of(recognition.sha256, str(recognition.preprocessing), precision=precision)


def _known(entry: Archive | PackFile, name: str, checksums: Mapping[str, str]) -> dict[str, str]:
    return {"sha256": checksums.get(name, UNCONFIRMED) if entry.sha256 == UNCONFIRMED else entry.sha256}


def contract_of(recogniser: str, preprocessing: str, *, precision: Precision) -> str:
    """Return the embedding contract of a recogniser with this checksum and preprocessing."""
    parts = [recogniser, preprocessing, ALIGNMENT, PREPROCESSING_VERSION]
    if precision != "f32":
        parts.append(precision)
    return f"vultus-emb-v1-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:20]}"


def catalog() -> dict[str, Path]:
    """Return the packs that can be installed by name, with their manifest files."""
    return {path.stem: path for path in sorted(CATALOG.glob("*.json"))}


def read(path: Path) -> Manifest:
    """Read a manifest file.

    Raises:
        SettingsError: the file cannot be read, or this version does not understand it.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise SettingsError(msg) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        msg = f"{path} is not a pack manifest that this version understands: {where}: {first['msg']}"
        raise SettingsError(msg) from None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def damage(folder: Path, manifest: Manifest) -> str | None:
    """Return the first fault of the files in `folder`, as a phrase; None if all of them match the manifest."""
    for file in manifest.files:
        path = folder / file.name
        if not path.is_file():
            if file.optional:
                continue
            return f"{file.name} is missing"
        if file.sha256 == UNCONFIRMED:
            return f"the manifest has no checksum for {file.name}"
        if file.size is not None and path.stat().st_size != file.size:
            return f"{file.name} has {path.stat().st_size} bytes instead of {file.size}"
        if sha256_of(path) != file.sha256:
            return f"{file.name} is not the file that the manifest describes (its sha256 differs)"
    return None


def require_folder(path: Path) -> None:
    """Reject a path that exists but is not a folder.

    Raises:
        SettingsError: the path is a file; the message is one line.
    """
    if path.exists() and not path.is_dir():
        msg = f"{path.absolute()} is a file, but must be a folder; move it or choose another models folder"
        raise SettingsError(msg)


@contextmanager
def readable(models_dir: Path) -> Iterator[None]:
    """Report models that the current user may not read.

    Raises:
        SettingsError: a file is not readable; the message is one line.
    """
    try:
        yield
    except PermissionError as error:
        msg = (
            f"{error.filename} cannot be read by user {os.geteuid()}; "
            f"run as its owner: chmod -R a+rX {shlex.quote(str(models_dir.absolute()))}"
        )
        raise SettingsError(msg) from None


def installed(models_dir: Path, pack: str) -> Manifest:
    """Check every file of an installed pack against its hash and return the manifest. Never downloads anything.

    The manifest omits optional files that are absent, and its thresholds are those of the remaining models.

    Raises:
        SettingsError: the pack is missing, damaged, or not readable; the message is one line that says what to do.
    """
    with readable(models_dir):
        return _installed(models_dir, pack)


def _installed(models_dir: Path, pack: str) -> Manifest:
    folder = models_dir / pack
    require_folder(models_dir)
    require_folder(folder)
    known = pack in catalog()
    command = f"python -m worker.packs install {pack} --models-dir {shlex.quote(str(models_dir))}"
    remedy = f"run: make models PACK={pack}  (or: {command})"
    if not (folder / MANIFEST).is_file():
        missing = f"Model pack '{pack}' is not installed in {models_dir.absolute()}"
        names = ", ".join(catalog())
        bare = " (VULTUS_ENGINE=insightface runs a folder without a manifest)" if any(folder.glob("*.onnx")) else ""
        raise SettingsError(
            f"{missing}; {remedy}"
            if known
            else f"{missing}: {pack}/{MANIFEST} does not exist{bare}. Packs that can be installed by name: {names}"
        )
    manifest = read(folder / MANIFEST)
    if wrong := damage(folder, manifest):
        hint = remedy if known else "restore the file, or update its hash in the manifest"
        msg = f"Model pack '{pack}' in {models_dir.absolute()} is damaged: {wrong}; {hint}"
        raise SettingsError(msg)
    return manifest.present(folder)
