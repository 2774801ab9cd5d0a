"""Install the environment, the locked dependencies and a model pack. Safe to repeat.

Runs with any `python3`, so it uses the standard library only. Every step passes on the caller's environment, because it
contains certificate and proxy settings.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)
NEWEST = (3, 13)
PIPS_NETWORK = re.compile(r"\.(?:index-url|no-index|proxy)=")
LOCKED_UV = re.compile(r"^uv==.*\\\n(?: .*\n)+", flags=re.MULTILINE)
CONFUSED_PIP = re.compile(r"^WARNING: (Location|Skipping|Running pip)|\[notice\]")


class SetupError(Exception):
    """A step failed; the message says which one and what to do."""


def main() -> int:
    """Install one set of dependencies and, unless `--pack` is empty, one model pack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("set", choices=["local", "dev"], help="local: to run the service; dev: to test and change it")
    parser.add_argument("--pack", default="compact", help="model pack to install; empty for none")
    options = parser.parse_args()
    try:
        check_python()
        make_environment()
        install(options.set)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return install_pack(options.pack) if options.pack else 0


def check_python() -> None:
    """Reject a Python version that the locked dependencies do not support."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        version = ".".join(map(str, sys.version_info[:3]))
        msg = f"Python {version} is not supported. Use 3.11, 3.12 or 3.13, for example: make PYTHON=python3.12 <target>"
        raise SetupError(msg)


def make_environment() -> None:
    """Create `.venv` if it is missing or incomplete."""
    if PYTHON.exists() and (VENV / "pyvenv.cfg").exists() and any((VENV / "bin").glob("pip*")):
        return
    begin = step("environment", "creating .venv")
    try:
        venv.create(VENV, with_pip=True, clear=True, symlinks=True)
    except subprocess.CalledProcessError as error:
        msg = f"cannot create .venv ({error}); on Debian and Ubuntu: apt-get install python3-venv"
        raise SetupError(msg) from None
    done("environment", f"Python {sys.version.split()[0]} in .venv", begin)


def install(name: str) -> None:
    """Install one lock file unless it, or `dev`, which contains it, is already installed."""
    stamp = VENV / ".installed"
    wanted = {name: _digest(name), "dev": _digest("dev")}
    have = stamp.read_text(encoding="utf-8").split() if stamp.exists() else []
    if any(digest in have for digest in wanted.values()):
        print(f"  dependencies   already installed ({name})")
        return
    lock = ROOT / "requirements" / f"{name}.txt"
    total = sum(1 for line in lock.read_text(encoding="utf-8").splitlines() if re.match(r"[A-Za-z0-9]", line))
    begin = step("dependencies", f"{total} locked packages")
    if name != "dev" or not _install_with_uv(lock):
        _install_with_pip(lock, total)
    stamp.write_text(f"{wanted[name]}\n", encoding="utf-8")
    done("dependencies", f"{total} packages", begin)


def _digest(name: str) -> str:
    lock = (ROOT / "requirements" / f"{name}.txt").read_bytes()
    return hashlib.sha256(lock + ".".join(map(str, sys.version_info[:2])).encode()).hexdigest()


def _install_with_uv(lock: Path) -> bool:
    """Install with the uv that the file locks, which is much faster than pip; False if pip must do it.

    uv does not read pip's configuration. Where that names an index or a proxy, only pip is used. Nothing is compiled:
    most modules are never imported, and the others are compiled by the first process that imports them.
    """
    configured = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    uv = LOCKED_UV.search(lock.read_text(encoding="utf-8"))
    if uv is None or PIPS_NETWORK.search(configured.stdout):
        return False
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "uv.txt"
        alone.write_text(uv[0], encoding="utf-8")
        if not _succeeds("pip", "install", "-r", str(alone)):
            return False
    return _succeeds("uv", "pip", "install", "--python", str(PYTHON), "-r", str(lock))


def _succeeds(*arguments: str) -> bool:
    command = [str(PYTHON), "-m", *arguments, "--quiet", "--no-deps", "--require-hashes"]
    return not subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode


def _install_with_pip(lock: Path, total: int) -> None:
    command = [str(PYTHON), "-m", "pip", "install", "--no-deps", "--require-hashes", "--progress-bar", "off"]
    tail = _run_pip([*command, "--no-compile", "-r", str(lock)], total)
    if tail is not None:
        msg = (
            f"pip could not install requirements/{lock.name}. Its last lines:\n{tail}\n"
            "Check the network (pip uses your PIP_* and proxy settings) and run the same command again. "
            "Completed downloads are kept."
        )
        raise SetupError(msg)
    _compile()


def _run_pip(command: list[str], total: int) -> str | None:
    """Run pip and show its progress; return its last lines if it failed."""
    lines: list[str] = []
    count = 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=os.environ
    ) as pip:
        for line in pip.stdout or ():
            if CONFUSED_PIP.search(line):
                continue
            lines.append(line.rstrip())
            if line.startswith(("Collecting ", "Processing ", "Ignoring ")):
                count += 1
                name = line.split()[1].rsplit("/", 1)[-1]
                progress(f"{count}/{total}  {re.split(r'[=:-]', name)[0]}", every=15, count=count)
            elif line.startswith("Installing collected"):
                progress("unpacking", every=1, count=1)
    return "\n".join(f"    {line}" for line in lines[-8:]) if pip.returncode else None


def _compile() -> None:
    """Compile what was installed, on all cores; pip would use one. Files that are not valid Python 3 are skipped."""
    progress("compiling", every=1, count=1)
    command = [str(PYTHON), "-m", "compileall", "-q", "-j", "0", str(VENV / "lib")]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def install_pack(pack: str) -> int:
    """Install a model pack with the environment's own Python."""
    command = [str(PYTHON), "-m", "worker.packs", "install", pack, "--models-dir", str(models_dir())]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def models_dir() -> Path:
    """Return the folder in which the local commands keep packs."""
    return Path(os.environ.get("VULTUS_MODELS_DIR", ROOT / ".data" / "models"))


def step(name: str, text: str) -> float:
    """Print that a step begins; return its start time."""
    print(f"  {name:<14} {text} ...", flush=True)
    return time.monotonic()


def done(name: str, text: str, begin: float) -> None:
    """Print that a step is done, and its duration."""
    _clear()
    print(f"  {name:<14} {text:<52} {time.monotonic() - begin:6.1f} s", flush=True)


def progress(text: str, *, every: int, count: int) -> None:
    """Show progress: in place on a terminal, otherwise every so many lines."""
    if sys.stdout.isatty():
        print(f"\r\033[K  {'':<14} {text}", end="", flush=True)
    elif count % every == 0:
        print(f"  {'':<14} {text}", flush=True)


def _clear() -> None:
    if sys.stdout.isatty():
        print("\r\033[K", end="")


if __name__ == "__main__":
    sys.exit(main())
