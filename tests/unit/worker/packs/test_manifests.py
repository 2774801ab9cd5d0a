"""Validation of manifests, and the embedding contract."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from shared.errors import SettingsError
from tests.unit.worker.engine.tiny_pack import write_pack
from worker.packs import manifests
from worker.packs.manifests import MANIFEST, LivenessLimits, Manifest, Precision

ROOT = Path(__file__).parents[4]


@pytest.fixture
def tiny(tmp_path: Path) -> Manifest:
    return write_pack(tmp_path)


@pytest.mark.parametrize("name", manifests.catalog())
def test_every_pack_of_the_catalog_is_complete(name: str) -> None:
    manifest = manifests.read(manifests.catalog()[name])
    assert manifest.name == name
    assert all(file.optional or (file.archive and file.member) for file in manifest.files)
    assert manifest.licence.text


def test_the_packs_that_install_by_name_are_these() -> None:
    names = ["antelopev2", "buffalo_l", "buffalo_m", "buffalo_s", "buffalo_sc", "compact"]
    assert list(manifests.catalog()) == names


@pytest.mark.parametrize("name", sorted(set(manifests.catalog()) - {"compact"}))
def test_a_pack_for_research_only_asks_for_agreement(name: str) -> None:
    assert manifests.read(manifests.catalog()[name]).licence.must_accept


@pytest.mark.parametrize("name", manifests.catalog())
def test_every_archive_and_every_needed_file_of_the_catalog_has_a_checksum(name: str) -> None:
    manifest = manifests.read(manifests.catalog()[name])
    assert manifest.unconfirmed_archives == ()
    needed = [file for role in manifests.NEEDED for file in manifest.files_of(role)]
    assert all(file.sha256 != manifests.UNCONFIRMED for file in needed)


def test_packs_with_the_same_recogniser_share_a_contract() -> None:
    contracts = {name: manifests.read(path).contract("f32") for name, path in manifests.catalog().items()}
    assert contracts["buffalo_l"] == contracts["buffalo_m"]
    assert contracts["buffalo_s"] == contracts["buffalo_sc"]
    assert len(set(contracts.values())) == 4


def test_a_file_that_comes_from_no_archive_needs_a_checksum(tiny: Manifest) -> None:
    files = [{**file, "sha256": manifests.UNCONFIRMED} for file in changed(tiny)["files"]]
    with pytest.raises(ValueError, match="needs a checksum"):
        Manifest.model_validate(changed(tiny, files=files))


def test_a_manifest_without_a_checksum_does_not_count_as_installed(tiny: Manifest, tmp_path: Path) -> None:
    archive = {
        "kind": "zip-url",
        "archive": "tiny.zip",
        "sha256": manifests.UNCONFIRMED,
        "url": "https://example.org/x",
    }
    source = {"sha256": manifests.UNCONFIRMED, "archive": "tiny.zip", "member": "x"}
    files = [{**file, **source} for file in changed(tiny)["files"]]
    (tmp_path / "tiny" / MANIFEST).write_text(json.dumps(changed(tiny, archives=[archive], files=files)))
    with pytest.raises(SettingsError, match=r"the manifest has no checksum for detection\.onnx"):
        manifests.installed(tmp_path, "tiny")


@pytest.mark.parametrize("blocked", ["models", "models/tiny"])
def test_a_file_in_place_of_a_folder_is_reported_in_one_line(tmp_path: Path, blocked: str) -> None:
    place = tmp_path / blocked
    place.parent.mkdir(exist_ok=True)
    place.write_text("")
    with pytest.raises(SettingsError) as error:
        manifests.installed(tmp_path / "models", "tiny")
    assert str(error.value).startswith(f"{place} is a file, but must be a folder")
    assert "\n" not in str(error.value)


def test_models_of_another_user_are_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", refuse)
        with pytest.raises(SettingsError) as caught:
            manifests.installed(tmp_path / "my models", "compact")
    line = str(caught.value)
    assert f"{tmp_path / 'my models'} cannot be read by user" in line
    assert f"chmod -R a+rX '{tmp_path / 'my models'}'" in line
    assert "\n" not in line


def test_a_models_folder_with_spaces_is_quoted_in_the_advice(tmp_path: Path) -> None:
    write_pack(tmp_path / "my models")
    assert manifests.installed(tmp_path / "my models", "tiny")
    with pytest.raises(SettingsError, match=r"install buffalo_s --models-dir '.*/my models'\)$"):
        manifests.installed(tmp_path / "my models", "buffalo_s")


def test_the_contract_of_the_compact_pack_is_stable() -> None:
    compact = manifests.read(manifests.catalog()["compact"])
    assert compact.contract("f32") == "vultus-emb-v1-cfda49dd869efaf3e359"
    assert compact.contract("f32") in (ROOT / "docs" / "models.md").read_text()


def test_other_recognition_weights_are_another_contract(tiny: Manifest) -> None:
    def with_hash(role: str, sha256: str) -> Manifest:
        files = [f.model_copy(update={"sha256": sha256}) if f.role == role else f for f in tiny.files]
        return tiny.model_copy(update={"files": tuple(files)})

    assert with_hash("recognition", "0" * 64).contract("f32") != tiny.contract("f32")
    assert with_hash("detection", "0" * 64).contract("f32") == tiny.contract("f32")


def test_another_precision_is_another_contract(tiny: Manifest) -> None:
    assert tiny.contract("bf16") != tiny.contract("f32")


def test_an_optional_file_may_be_absent_and_brings_its_own_thresholds(tmp_path: Path) -> None:
    whole = write_pack(tmp_path, optional_liveness=True)
    without = manifests.installed(tmp_path, "tiny")
    assert (without.file("liveness"), without.thresholds.live) == (None, 0.5)
    (tmp_path / "tiny" / "spare.onnx").rename(tmp_path / "tiny" / "liveness.onnx")
    present = manifests.installed(tmp_path, "tiny")
    assert present.file("liveness") == whole.file("liveness")
    assert (present.thresholds.live, present.thresholds.spoof) == (0.8, 0.5)
    assert present.thresholds.match == whole.thresholds.match


def second_liveness(models_dir: Path, manifest: Manifest, **changes: Any) -> Manifest:
    """Return the pack with a second, changed copy of its liveness file."""
    [first] = manifest.files_of("liveness")
    second = first.model_copy(update={"name": "liveness_b.onnx", **changes})
    shutil.copyfile(models_dir / "tiny" / first.name, models_dir / "tiny" / second.name)
    both = manifest.model_copy(update={"files": (*manifest.files, second)})
    (models_dir / "tiny" / MANIFEST).write_text(both.model_dump_json())
    return manifests.installed(models_dir, "tiny")


def test_a_pack_may_have_several_liveness_models(tmp_path: Path) -> None:
    both = second_liveness(tmp_path, write_pack(tmp_path), preprocessing="minifas-4.0-bgr-80")
    assert [file.name for file in both.files_of("liveness")] == ["liveness.onnx", "liveness_b.onnx"]
    assert both.thresholds.live == 0.5


@pytest.mark.parametrize(
    ("first", "live", "spoof"), [(LivenessLimits(live=0.8, spoof=0.5), 0.7, 0.4), (None, 0.5, 0.3)]
)
def test_limits_are_averaged_if_all_liveness_models_have_them(
    tmp_path: Path, first: LivenessLimits | None, live: float, spoof: float
) -> None:
    tiny = write_pack(tmp_path)
    files = [file.model_copy(update={"limits": first}) if file.role == "liveness" else file for file in tiny.files]
    limited = tiny.model_copy(update={"files": tuple(files)})
    both = second_liveness(tmp_path, limited, limits=LivenessLimits(live=0.6, spoof=0.3))
    assert (both.thresholds.live, both.thresholds.spoof) == pytest.approx((live, spoof))


def test_an_optional_file_with_a_wrong_hash_is_damage(tmp_path: Path) -> None:
    write_pack(tmp_path, optional_liveness=True)
    (tmp_path / "tiny" / "liveness.onnx").write_bytes(b"another model")
    with pytest.raises(SettingsError, match=r"damaged: liveness\.onnx is not the file"):
        manifests.installed(tmp_path, "tiny")


@pytest.mark.parametrize(
    ("role", "change", "complaint"),
    [
        ("detection", {"optional": True}, "detection file cannot be optional"),
        ("recognition", {"limits": {"live": 0.8, "spoof": 0.5}}, "only a liveness file may have limits"),
        ("liveness", {"role": "age_gender"}, "preprocessing of age_gender must be box-1.5-rgb-96"),
        ("liveness", {"role": "recognition", "preprocessing": "arcface-112-rgb"}, "one recognition file"),
        ("liveness", {"role": "eyes", "preprocessing": "eye-1.6-grey-24"}, "needs a points_68 file"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    tiny: Manifest, role: str, change: dict[str, Any], complaint: str
) -> None:
    files = [{**file, **change} if file["role"] == role else file for file in changed(tiny)["files"]]
    with pytest.raises(ValueError, match=complaint):
        Manifest.model_validate(changed(tiny, files=files))


TABLE: dict[str, Any] = {
    "source": "made up",
    "impostor_pairs": 30_000,
    "points": [{"fmr": 0.01, "threshold": 0.3}, {"fmr": 0.001, "threshold": 0.4}],
}


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_table_of_false_match_rates_belongs_to_one_contract(tiny: Manifest, precision: Precision) -> None:
    table = {**TABLE, "contract": tiny.contract(precision)}
    assert Manifest.model_validate(changed(tiny, calibration=table)).calibration is not None
    with pytest.raises(ValueError, match="is not an embedding contract of this pack"):
        Manifest.model_validate(changed(tiny, calibration={**table, "contract": "vultus-emb-v1-of-another"}))


def changed(manifest: Manifest, **fields: Any) -> dict[str, Any]:
    return {**manifest.model_dump(mode="json"), **fields}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("name", "../outside"),
        ("surprise", 1),
        ("files", []),
        ("thresholds", {"match": 0.3}),
        ("embedding_size", 0),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused_with_the_field(
    tiny: Manifest, tmp_path: Path, field: str, value: Any
) -> None:
    path = tmp_path / MANIFEST
    path.write_text(json.dumps(changed(tiny, **{field: value})))
    with pytest.raises(SettingsError, match=r"is not a pack manifest that this version understands") as error:
        manifests.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b.onnx", ".hidden"])
def test_a_file_name_cannot_leave_the_folder(tiny: Manifest, name: str) -> None:
    files = [{**file, "name": name} for file in changed(tiny)["files"]]
    with pytest.raises(ValueError, match="pattern"):
        Manifest.model_validate(changed(tiny, files=files))


def test_a_preprocessing_that_this_engine_does_not_know_is_refused(tiny: Manifest) -> None:
    files = [{**file, "preprocessing": "arcface-112-rgb"} for file in changed(tiny)["files"]]
    with pytest.raises(ValueError, match="preprocessing of detection must be scrfd-5"):
        Manifest.model_validate(changed(tiny, files=files))


def test_an_intact_pack_returns_its_manifest(tiny: Manifest, tmp_path: Path) -> None:
    assert manifests.installed(tmp_path, "tiny") == tiny


def test_a_missing_file_is_named(tiny: Manifest, tmp_path: Path) -> None:
    (tmp_path / tiny.name / "detection.onnx").unlink()
    with pytest.raises(SettingsError, match=r"damaged: detection\.onnx is missing"):
        manifests.installed(tmp_path, "tiny")


def test_an_unknown_pack_lists_the_available_ones(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError,
        match=r"mystery/manifest\.json does not exist\. Packs that can be installed by name: antelopev2, ",
    ):
        manifests.installed(tmp_path, "mystery")
