"""Command line for model packs: `python -m worker.models list | install | add | prepare | verify`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.errors import SettingsError
from shared.settings import PREFIX
from worker.engine import packs
from worker.engine.fetch import Say
from worker.engine.install import add, install
from worker.engine.packs import Manifest
from worker.engine.prepare import prepare


def say(line: str) -> None:
    """Print a line of progress; on a terminal, one that starts with a carriage return replaces itself."""
    if line.startswith("\r") and sys.stdout.isatty():
        sys.stdout.write(f"{line}\033[K" + ("\n" if " 100 %" in line else ""))
    else:
        sys.stdout.write(line.lstrip("\r") + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None, *, say: Say = say) -> int:
    """Run one command. Exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage."""
    options = _parser().parse_args(arguments)
    models_dir: Path = options.models_dir
    try:
        if options.command == "list":
            _list(models_dir, say=say)
        elif options.command == "add":
            add(models_dir, options.pack, options.file, say=say)
        elif options.command == "prepare":
            prepare(models_dir / options.pack, packs.installed(models_dir, options.pack), say=say)
        elif options.command == "verify":
            manifest = packs.installed(models_dir, options.pack)
            say(f"{options.pack}: {len(manifest.files)} files are as the manifest says; {manifest.embedding_contract}")
        else:
            install(
                packs.catalog()[options.pack],
                models_dir=models_dir,
                cache=options.cache or models_dir / ".cache",
                accept=lambda manifest: _accepted(manifest, already=options.accept_license, say=say),
                say=say,
            )
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _list(models_dir: Path, *, say: Say) -> None:
    folders = {path.parent.name for path in models_dir.glob(f"[!.]*/{packs.MANIFEST}")}
    for name in sorted(folders | set(packs.catalog())):
        state = f"installed in {models_dir / name}" if name in folders else "not installed"
        terms = packs.read(packs.catalog()[name]).licence.text if name in packs.catalog() else "your own folder"
        say(f"{name}: {state}\n  {terms}")


def _accepted(manifest: Manifest, *, already: bool, say: Say) -> bool:
    say(f"{manifest.name}: {manifest.licence.text}\nSee {manifest.licence.url}")
    if already:
        return True
    if not sys.stdin.isatty():
        return False
    return input(f"Do you accept this licence for {manifest.name}? Type yes: ").strip().lower() == "yes"


def _parser() -> argparse.ArgumentParser:
    default = Path(os.environ.get(f"{PREFIX}MODELS_DIR") or "models")
    about = f"folder of the packs ({PREFIX}MODELS_DIR, or models)"
    parser = argparse.ArgumentParser(prog="python -m worker.models", description="Install and check model packs.")
    parser.add_argument("--models-dir", type=Path, default=default, help=about)
    common = argparse.ArgumentParser(add_help=False)  # the same after the command, where it must not reset the first
    common.add_argument("--models-dir", type=Path, default=argparse.SUPPRESS, help=about)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", parents=[common], help="known and installed packs with their licences")
    adding = commands.add_parser("install", parents=[common], help="fetch, check and install a pack")
    adding.add_argument("pack", choices=sorted(packs.catalog()))
    adding.add_argument("--accept-license", action="store_true", help="accept the pack's licence without being asked")
    adding.add_argument("--cache", type=Path, help="folder of the downloaded archives (MODELS_DIR/.cache)")
    extending = commands.add_parser("add", parents=[common], help="put an optional file of a pack in its place")
    extending.add_argument("pack")
    extending.add_argument("file", type=Path)
    preparing = commands.add_parser(
        "prepare", parents=[common], help="make faster equals of an installed pack's graphs"
    )
    preparing.add_argument("pack")
    checking = commands.add_parser("verify", parents=[common], help="check an installed pack against its hashes")
    checking.add_argument("pack")
    return parser


if __name__ == "__main__":
    sys.exit(main())
