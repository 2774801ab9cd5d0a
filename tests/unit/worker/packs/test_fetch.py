"""Archives are fetched once and checked; a failure says how to continue."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.errors import SettingsError
from tests.unit.worker.engine.archives import Serve, npm, sdist, sha256, tarball, zip_at, zipped
from worker.packs import fetch
from worker.packs.fetch import archive_in_cache
from worker.packs.manifests import UNCONFIRMED, Archive

DATA = tarball()
ZIPPED = zipped()


class Runner:
    """Stand in for pip and npm: record the command, then write the next outcome into its target folder."""

    def __init__(self, *outcomes: bytes | str) -> None:
        self.commands: list[list[str]] = []
        self._outcomes = list(outcomes)

    def __call__(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        self.commands.append(list(command))
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, str):
            return subprocess.CompletedProcess(command, 1, stdout="", stderr=outcome)
        flag = "-d" if "-d" in command else "--pack-destination"
        name = "toy-1.0.tar.gz" if flag == "-d" else "toy-1.0.tgz"
        Path(command[list(command).index(flag) + 1], name).write_bytes(outcome)
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")


@pytest.fixture(autouse=True)
def npm_is_there_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def get(archive: Archive, cache: Path, run: fetch.Run | None = None) -> tuple[Path, list[str]]:
    lines: list[str] = []
    return archive_in_cache(archive, cache=cache, say=lines.append, run=run or Runner()), lines


def test_pip_fetches_only_the_source_archive(tmp_path: Path) -> None:
    run = Runner(DATA)
    path, lines = get(sdist(DATA), tmp_path, run)
    [command] = run.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--no-binary"} < set(command)
    assert command[-1] == "toy==1.0"
    assert path.read_bytes() == DATA
    assert "fetched and checked" in lines[-1]


def test_npm_packs_and_never_runs_a_script(tmp_path: Path) -> None:
    run = Runner(DATA)
    get(npm(DATA), tmp_path, run)
    [command] = run.commands
    assert command[:4] == ["npm", "pack", "--silent", "--ignore-scripts"]
    assert command[-1] == "toy@1.0"


def test_an_archive_in_the_cache_is_used_without_any_command(tmp_path: Path) -> None:
    (tmp_path / "toy-1.0.tgz").write_bytes(DATA)
    run = Runner()
    path, _ = get(npm(DATA), tmp_path, run)
    assert (path, run.commands) == (tmp_path / "toy-1.0.tgz", [])


def test_a_wrong_file_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "toy-1.0.tgz").write_bytes(b"half of it")
    assert get(npm(DATA), tmp_path, Runner(DATA))[0].read_bytes() == DATA


@pytest.mark.parametrize("first", ["network is down", b"something else"])
def test_it_tries_once_more(tmp_path: Path, first: bytes | str) -> None:
    run = Runner(first, DATA)
    _, lines = get(npm(DATA), tmp_path, run)
    assert len(run.commands) == 2
    assert any("trying once more" in line for line in lines)


def failure(archive: Archive, cache: Path, run: fetch.Run) -> str:
    with pytest.raises(SettingsError) as caught:
        get(archive, cache, run)
    return str(caught.value)


def test_a_failure_names_file_command_output_and_remedy(tmp_path: Path) -> None:
    text = failure(npm(DATA), tmp_path, Runner("npm error network\n" * 9, "npm error ENOTFOUND"))
    assert "toy-1.0.tgz could not be fetched" in text
    assert "`npm pack --silent" in text
    assert "npm error ENOTFOUND" in text
    assert f"place a file named toy-1.0.tgz with sha256 {npm(DATA).sha256} into {tmp_path}" in text


def test_nothing_wrong_stays_in_the_cache(tmp_path: Path) -> None:
    failure(npm(DATA), tmp_path, Runner(b"bad", b"bad"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_npm_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert "npm is not installed on this machine" in failure(npm(DATA), tmp_path, Runner())


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    def hang(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        raise subprocess.TimeoutExpired(command, 600)

    assert "did not finish within 600 s" in failure(npm(DATA), tmp_path, hang)


def test_a_command_that_cannot_start_is_reported(tmp_path: Path) -> None:
    def missing(_command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        raise FileNotFoundError(2, "No such file or directory")

    assert "could not be started: No such file" in failure(npm(DATA), tmp_path, missing)


def test_commands_see_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PROXY", "here")
    done = fetch.run_command([sys.executable, "-c", "import os; print(os.environ['SOME_PROXY'])"])
    assert done.stdout == "here\n"


def test_a_zip_is_streamed_with_progress(tmp_path: Path, serve: Serve) -> None:
    path, lines = get(zip_at(serve(ZIPPED), ZIPPED), tmp_path)
    assert path.read_bytes() == ZIPPED
    assert any(line.startswith("\rtoy.zip: 100 % of") for line in lines)


@pytest.mark.parametrize(
    ("body", "answer", "said"),
    [
        (b"", {"status": 404}, "Not Found"),
        (ZIPPED + b"x", {}, f"sent more than the expected {len(ZIPPED)} bytes"),
        (ZIPPED[:-1], {}, f"ended after {len(ZIPPED) - 1} of {len(ZIPPED)} bytes"),
        (ZIPPED[:-1], {"promise": len(ZIPPED)}, f"ended after {len(ZIPPED) - 1} of {len(ZIPPED)} bytes"),
        (bytes(len(ZIPPED)), {}, "not the expected one"),
    ],
)
def test_a_bad_download_is_refused(
    tmp_path: Path, serve: Serve, body: bytes, answer: dict[str, int], said: str
) -> None:
    assert said in failure(zip_at(serve(body, **answer), ZIPPED), tmp_path, Runner())
    assert list(tmp_path.iterdir()) == []


def test_an_archive_without_a_checksum_is_accepted_with_a_warning(tmp_path: Path, serve: Serve) -> None:
    path, lines = get(zip_at(serve(ZIPPED), ZIPPED, sha256=UNCONFIRMED, size=None), tmp_path)
    assert path.read_bytes() == ZIPPED
    assert f"WARNING: toy.zip is NOT VERIFIED. Trusted on first use and recorded: sha256 {sha256(ZIPPED)}" in lines


def test_half_an_archive_is_never_trusted(tmp_path: Path, serve: Serve) -> None:
    address = serve(ZIPPED[:-1], promise=len(ZIPPED))
    text = failure(zip_at(address, ZIPPED, sha256=UNCONFIRMED, size=None), tmp_path, Runner())
    assert f"ended after {len(ZIPPED) - 1} of {len(ZIPPED)} bytes" in text
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_is_reported(tmp_path: Path, serve: Serve) -> None:
    address = serve(b"").replace("127.0.0.1:", "127.0.0.1:1/")
    assert "`GET http://127.0.0.1:1/" in failure(zip_at(address, ZIPPED), tmp_path, Runner())


@pytest.mark.parametrize("url", ["http://example.org/toy.zip", "file:///etc/passwd", "ftp://127.0.0.1/toy.zip"])
def test_only_https_and_this_machine_are_allowed(url: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        zip_at(url, ZIPPED)
