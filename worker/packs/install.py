"""Install a pack: take archives from the cache or the network, check the files, put the folder in place atomically."""

import fcntl
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from shared.errors import SettingsError
from worker.packs import manifests
from worker.packs.fetch import Run, Say, archive_in_cache, run_command
from worker.packs.manifests import MANIFEST, UNCONFIRMED, Manifest, PackFile
from worker.packs.measurements import MeasureModel
from worker.packs.prepare import prepare, unprepared

ACCEPTED: Final = "LICENSE_ACCEPTED.json"

Accept = Callable[[Manifest], bool]
"""Shows the licence of a pack and returns whether the operator accepts it."""


def install(
    source: Path,
    *,
    models_dir: Path,
    cache: Path,
    accept: Accept,
    say: Say,
    run: Run = run_command,
    trust_on_first_use: bool = False,
    measure: MeasureModel | None = None,
) -> Manifest:
    """Install the pack that the manifest file `source` describes; do nothing if it is already intact.

    Concurrent calls are safe: a lock file admits one at a time. An interruption leaves the previous installation.
    Checksums that the manifest does not contain are recorded in the installed manifest and enforced from then on.

    Raises:
        SettingsError: the licence was not accepted, an archive could not be fetched or has no confirmed checksum, or a
            file in it is not the expected one.
    """
    manifest = manifests.read(source)
    folder = models_dir / manifest.name
    for place in (models_dir, folder, cache):
        manifests.require_folder(place)
    models_dir.mkdir(parents=True, exist_ok=True)
    with _alone(models_dir, manifest.name, say=say):
        manifest = _with_recorded_checksums(manifest, folder)
        if _intact(folder, manifest):
            _renew_manifest(source, manifest, folder)
            count = len(manifest.present(folder).files)
            say(f"{manifest.name}: already installed in {folder}, all {count} files checked")
            prepare_what_is_missing(folder, manifest, say=say, measure=measure)
            return manifest
        _require_consent(manifest, accept=accept, trust_on_first_use=trust_on_first_use)
        archives = {
            archive.archive: archive_in_cache(archive, cache=cache, say=say, run=run) for archive in manifest.archives
        }
        with tempfile.TemporaryDirectory(prefix=f".{manifest.name}.new-", dir=models_dir) as work:
            fresh = Path(work) / manifest.name
            fresh.mkdir()
            manifest = _unpack(manifest, archives, fresh, old=folder)
            _write_manifest(source, manifest, fresh / MANIFEST)
            prepare(fresh, manifest, say=say, measure=measure)
            _put_in_place(fresh, folder)
    say(f"{manifest.name}: installed in {folder}, {len(manifest.present(folder).files)} files checked")
    return manifest


def _require_consent(manifest: Manifest, *, accept: Accept, trust_on_first_use: bool) -> None:
    if manifest.unconfirmed_archives and not trust_on_first_use:
        names = ", ".join(manifest.unconfirmed_archives)
        msg = (
            f"{manifest.name} was not installed: no confirmed checksum is known for {names}. Pass --trust-on-first-use "
            "to accept what is downloaded now and record its checksum."
        )
        raise SettingsError(msg)
    if manifest.licence.must_accept and not accept(manifest):
        msg = f"{manifest.name} was not installed: its licence was not accepted. Pass --accept-license to accept it."
        raise SettingsError(msg)


def _unpack(manifest: Manifest, archives: dict[str, Path], fresh: Path, *, old: Path) -> Manifest:
    """Fill the folder `fresh` with the files of a pack; return the manifest with all checksums."""
    for file in manifest.files:
        _extract(file, archives, fresh)
        _keep(file, old, fresh)
    manifest = manifest.with_checksums(_checksums(manifest, archives, fresh))
    if wrong := manifests.damage(fresh, manifest):
        msg = f"{manifest.name} was not installed: {wrong}"
        raise SettingsError(msg)
    if manifest.licence.must_accept:
        (fresh / ACCEPTED).write_text(json.dumps(_acceptance(manifest), indent=2) + "\n")
    return manifest


def add(models_dir: Path, pack: str, source: Path, *, say: Say, measure: MeasureModel | None = None) -> None:
    """Add an optional file to an installed pack.

    Raises:
        SettingsError: the pack is not installed or is damaged, or the file is not one of its optional files.
    """
    manifests.installed(models_dir, pack)
    folder = models_dir / pack
    manifest = manifests.read(folder / MANIFEST)
    with _alone(models_dir, pack, say=say):
        digest = manifests.sha256_of(source)
        file = next((file for file in manifest.files if file.optional and file.sha256 == digest), None)
        if file is None:
            known = "; ".join(f"{file.name} with sha256 {file.sha256}" for file in manifest.files if file.optional)
            msg = f"{source} (sha256 {digest}) is not an optional file of {pack}. Optional files: {known or 'none'}"
            raise SettingsError(msg)
        part = folder / f".{file.name}.part"
        with source.open("rb") as stream:
            _write(stream, part)
        part.replace(folder / file.name)
        say(f"{pack}: added {file.name}")
        prepare_what_is_missing(folder, manifest, say=say, measure=measure)


def prepare_what_is_missing(folder: Path, manifest: Manifest, *, say: Say, measure: MeasureModel | None = None) -> None:
    """Prepare an intact pack unless it is prepared already; a read-only folder keeps its original graphs."""
    if not unprepared(folder, manifest):
        return
    try:
        prepare(folder, manifest, say=say, measure=measure)
    except SettingsError as error:
        say(str(error))


def _keep(file: PackFile, folder: Path, fresh: Path) -> None:
    """Copy an optional file that was added earlier into the new folder."""
    old = folder / file.name
    if file.optional and old.is_file() and manifests.sha256_of(old) == file.sha256:
        shutil.copyfile(old, fresh / file.name)


def _intact(folder: Path, manifest: Manifest) -> bool:
    """Return whether every file is intact and the licence unchanged; the installed manifest may be older."""
    try:
        known = manifests.read(folder / MANIFEST)
    except SettingsError:
        return False
    return known.licence == manifest.licence and manifests.damage(folder, manifest) is None


def _with_recorded_checksums(manifest: Manifest, folder: Path) -> Manifest:
    """Return the manifest with the checksums that an earlier installation recorded, so that they are enforced."""
    try:
        before = manifests.read(folder / MANIFEST)
    except SettingsError:
        return manifest
    known = {archive.archive: archive.sha256 for archive in before.archives}
    known |= {file.name: file.sha256 for file in before.files}
    return manifest.with_checksums({name: known[name] for name in before.recorded if name in known})


def _checksums(manifest: Manifest, archives: dict[str, Path], fresh: Path) -> dict[str, str]:
    """Return the checksums to record: those of archives and files for which the manifest has none."""
    places = {name: archives[name] for name in manifest.unconfirmed_archives}
    places |= {file.name: fresh / file.name for file in manifest.files if file.sha256 == UNCONFIRMED}
    return {name: manifests.sha256_of(path) for name, path in places.items()}


def _write_manifest(source: Path, manifest: Manifest, target: Path) -> None:
    if manifest.recorded:
        target.write_text(manifest.model_dump_json(indent=2, exclude_defaults=True) + "\n")
    else:
        shutil.copyfile(source, target)


def _renew_manifest(source: Path, manifest: Manifest, folder: Path) -> None:
    """Adopt a newer manifest of the same files; no archive is needed for that."""
    if manifests.read(folder / MANIFEST) != manifest:
        part = folder / f".{MANIFEST}.part"
        _write_manifest(source, manifest, part)
        part.replace(folder / MANIFEST)


def _acceptance(manifest: Manifest) -> dict[str, str]:
    return {
        "pack": manifest.name,
        "accepted_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "licence": manifest.licence.text,
        "licence_url": manifest.licence.url,
        "licence_sha256": hashlib.sha256(manifest.licence.text.encode()).hexdigest(),
    }


@contextmanager
def _alone(models_dir: Path, pack: str, *, say: Say) -> Iterator[None]:
    """Hold the pack's lock, and remove what a killed installation left behind."""
    with (models_dir / f".{pack}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{pack}: another process is installing it; waiting ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in [*models_dir.glob(f".{pack}.new-*"), *models_dir.glob(f".{pack}.old-*")]:
            shutil.rmtree(left, ignore_errors=True)
        yield


def _put_in_place(fresh: Path, folder: Path) -> None:
    """Rename the folder into place. A folder cannot replace a non-empty one, so the old one is moved away first."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
        folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old)
    else:
        fresh.rename(folder)


def _extract(file: PackFile, archives: dict[str, Path], folder: Path) -> None:
    """Copy the listed member to `folder/name`; a path in an archive is never used as a path on disk."""
    if file.archive is None or file.member is None:
        return
    archive = archives[file.archive]
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as zipped, zipped.open(_member(zipped, file.member)) as member:
                _write(member, folder / file.name)
        else:
            with tarfile.open(archive) as tarred:
                # a folder of that name has no content, so its hash will not match
                _write(tarred.extractfile(file.member) or io.BytesIO(), folder / file.name)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        msg = f"{archive} does not contain {file.member}: {error}"
        raise SettingsError(msg) from None


def _member(archive: zipfile.ZipFile, path: str) -> str:
    """Return the entry at this path, else the only file of that name: some publishers wrap a pack in a folder."""
    name = path.rpartition("/")[2]
    named = [entry for entry in archive.namelist() if entry.rpartition("/")[2] == name]
    return named[0] if path not in named and len(named) == 1 else path


def _write(member: IO[bytes], target: Path) -> None:
    with target.open("wb") as out:
        shutil.copyfileobj(member, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
