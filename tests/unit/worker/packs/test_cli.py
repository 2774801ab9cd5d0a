"""The command line for model packs: output and exit status."""

import io
from pathlib import Path

import pytest

from tests.unit.worker.engine.archives import (
    LICENCE,
    Serve,
    manifest_of,
    npm,
    sha256,
    tarball,
    written,
    zip_at,
    zipped,
)
from tests.unit.worker.engine.tiny_pack import write_pack
from worker.packs import cli, manifests
from worker.packs.manifests import Licence

DATA = tarball()
ZIPPED = zipped()


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a catalog with one pack whose archive is in the default cache; return the models folder."""
    licence = Licence(text=LICENCE.text, url=LICENCE.url, must_accept=True)
    source = written(tmp_path / "catalog", manifest_of(npm(DATA), licence=licence))
    monkeypatch.setattr(manifests, "CATALOG", source.parent)
    cache = tmp_path / "models" / ".cache"
    cache.mkdir(parents=True)
    (cache / "toy-1.0.tgz").write_bytes(DATA)
    monkeypatch.setenv("VULTUS_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


def test_install_verify_and_list(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["install", "toy", "--accept-license"]) == 0
    assert cli.main(["verify", "toy", "--files-only"]) == 0
    assert cli.main(["list"]) == 0
    printed = capsys.readouterr().out
    assert "2 files match the manifest; vultus-emb-v1-" in printed
    assert f"toy: installed in {toy / 'toy'}" in printed


def test_a_licence_is_shown_and_not_accepted_without_a_terminal(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert cli.main(["install", "toy"]) == 1
    captured = capsys.readouterr()
    assert "For looking at only." in captured.out
    assert "--accept-license" in captured.err
    assert not (toy / "toy").exists()


class Terminal(io.StringIO):
    """An interactive terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "status"), [("yes\n", 0), ("no\n", 1), ("\n", 1)])
def test_only_yes_at_the_prompt_accepts(toy: Path, answer: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert cli.main(["install", "toy"]) == status
    assert (toy / "toy").exists() == (status == 0)


def test_an_unknown_pack_is_wrong_usage(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del toy
    with pytest.raises(SystemExit) as ended:
        cli.main(["install", "mystery"])
    assert ended.value.code == 2
    assert "toy" in capsys.readouterr().err


def test_a_manifest_file_installs_and_trust_must_be_requested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    archive = zip_at(serve(ZIPPED), ZIPPED, sha256=manifests.UNCONFIRMED, size=None)
    source = written(tmp_path / "own", manifest_of(archive))
    command = ["install", str(source), "--models-dir", str(tmp_path / "my models")]
    assert cli.main(command) == 1
    assert "Pass --trust-on-first-use to accept what is downloaded now" in capsys.readouterr().err
    assert cli.main([*command, "--trust-on-first-use"]) == 0
    assert f"NOT VERIFIED. Trusted on first use and recorded: sha256 {sha256(ZIPPED)}" in capsys.readouterr().out
    assert cli.main(command) == 0
    assert cli.main(["list", "--models-dir", str(tmp_path / "my models")]) == 0
    assert "TRUSTED ON FIRST USE, never confirmed: toy.zip" in capsys.readouterr().out


def test_a_file_in_place_of_the_models_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").write_text("")
    for command in (["list"], ["verify", "toy"], ["prepare", "toy"], ["add", "toy", "x.onnx"]):
        assert cli.main([*command, "--models-dir", str(tmp_path / "models")]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert "is a file, but must be a folder" in line


def test_no_command_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2


def test_verify_fails_on_a_damaged_pack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pack(tmp_path)
    (tmp_path / "tiny" / "detection.onnx").write_bytes(b"broken")
    assert cli.main(["verify", "tiny", "--models-dir", str(tmp_path)]) == 1
    assert "damaged: detection.onnx" in capsys.readouterr().err


def test_list_shows_a_custom_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pack(tmp_path, name="mine")
    assert cli.main(["list", "--models-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"mine: installed in {tmp_path / 'mine'}, not prepared (detection.onnx, recognition.onnx, " in printed
    assert "\n  models    detection detection.onnx, recognition recognition.onnx, liveness liveness.onnx\n" in printed
    assert "\n  licence   None: made by a test.\n" in printed
    assert "buffalo_l: not installed; install it with: make models PACK=buffalo_l" in printed


def test_list_shows_folders_that_only_insightface_itself_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bare", "foreign"):
        write_pack(tmp_path, name=name)
        (tmp_path / name / manifests.MANIFEST).unlink()
    (tmp_path / "foreign" / manifests.MANIFEST).write_text('{"manifest_version": 2}')
    assert cli.main(["list", "--models-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"bare: model files without a manifest in {tmp_path / 'bare'}; VULTUS_ENGINE=insightface runs" in printed
    assert "foreign: " in printed
    assert "VULTUS_ENGINE=insightface may be able to run it" in printed
    assert cli.main(["verify", "bare", "--models-dir", str(tmp_path)]) == 1
    assert "(VULTUS_ENGINE=insightface runs a folder without a manifest)" in capsys.readouterr().err


def test_prepare_creates_the_graphs_of_a_custom_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pack(tmp_path, name="mine", flexible=True)
    assert cli.main(["prepare", "mine", "--models-dir", str(tmp_path)]) == 0
    assert "mine: prepared 2 of 3 models, outputs identical to the originals" in capsys.readouterr().out
    assert cli.main(["list", "--models-dir", str(tmp_path)]) == 0
    assert f"mine: installed in {tmp_path / 'mine'}, prepared\n" in capsys.readouterr().out


def test_list_names_the_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pack(tmp_path, name="mine")
    (tmp_path / "mine" / "detection.onnx").write_bytes(b"broken")
    assert cli.main(["list", "--models-dir", str(tmp_path)]) == 0
    assert "DAMAGED, detection.onnx is not the file" in capsys.readouterr().out


def test_add_installs_an_optional_file_under_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pack(tmp_path, optional_liveness=True)
    spare = tmp_path / "tiny" / "spare.onnx"
    assert cli.main(["list", "--models-dir", str(tmp_path)]) == 0
    assert (
        "optional  liveness liveness.onnx; add it with: python -m worker.packs add tiny FILE" in capsys.readouterr().out
    )
    assert cli.main(["add", "tiny", str(spare), "--models-dir", str(tmp_path)]) == 0
    assert "tiny: added liveness.onnx" in capsys.readouterr().out
    assert manifests.installed(tmp_path, "tiny").file("liveness") is not None


def test_add_refuses_any_other_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pack(tmp_path, optional_liveness=True)
    other = tmp_path / "liveness.onnx"
    other.write_bytes(b"another model")
    assert cli.main(["add", "tiny", str(other), "--models-dir", str(tmp_path)]) == 1
    assert "is not an optional file of tiny. Optional files: liveness.onnx with sha256 " in capsys.readouterr().err
    assert not (tmp_path / "tiny" / "liveness.onnx").exists()


def test_the_folder_option_may_precede_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pack(tmp_path, name="mine")
    assert cli.main(["--models-dir", str(tmp_path), "verify", "mine", "--files-only"]) == 0
    assert "3 files match the manifest" in capsys.readouterr().out


def test_a_folder_that_is_not_writable_is_reported(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = toy / "a-file"
    blocked.write_text("")
    assert cli.main(["install", "toy", "--accept-license", "--models-dir", str(blocked)]) == 1
    assert "a-file" in capsys.readouterr().err


def test_progress_without_a_terminal_is_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    cli.say("\rtoy.zip: 5 % of 1.0 MB")
    assert capsys.readouterr().out == "toy.zip: 5 % of 1.0 MB\n"
