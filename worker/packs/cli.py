"""Command line for model packs: `python -m worker.packs list | install | add | prepare | verify`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.errors import SettingsError
from shared.settings import PREFIX
from worker.packs import manifests
from worker.packs.fetch import Say
from worker.packs.install import add, install
from worker.packs.manifests import MANIFEST, Manifest
from worker.packs.measurements import Measurement
from worker.packs.prepare import prepare, unprepared
from worker.packs.runtimes import Comparison


def say(line: str) -> None:
    """Print a progress line; on a terminal, a line that starts with a carriage return overwrites itself."""
    if line.startswith("\r") and sys.stdout.isatty():
        sys.stdout.write(f"{line}\033[K" + ("\n" if " 100 %" in line else ""))
    else:
        sys.stdout.write(line.lstrip("\r") + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None, *, say: Say = say) -> int:
    """Run one command. Exit status: 0 success, 1 failure (see standard error), 2 usage error."""
    options = _parser().parse_args(arguments)
    models_dir: Path = options.models_dir
    try:
        manifests.require_folder(models_dir)
        if options.command == "list":
            _list(models_dir, say=say)
        elif options.command == "add":
            add(models_dir, options.pack, options.file, say=say, measure=_measure)
        elif options.command == "prepare":
            manifest = manifests.installed(models_dir, options.pack)
            prepare(models_dir / options.pack, manifest, say=say, measure=_measure, compare=_compare)
        elif options.command == "measure":
            _print_measurement(models_dir, options.pack, cache=options.cache or models_dir / ".cache", say=say)
        elif options.command == "verify":
            return _verify(models_dir, options.pack, files_only=options.files_only, say=say)
        else:
            install(
                options.pack,
                models_dir=models_dir,
                cache=options.cache or models_dir / ".cache",
                accept=lambda manifest: _accepted(manifest, already=options.accept_license, say=say),
                say=say,
                trust_on_first_use=options.trust_on_first_use,
                measure=_measure,
            )
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _list(models_dir: Path, *, say: Say) -> None:
    folders = {
        path.parent.name for path in models_dir.glob("[!.]*/*") if path.name == MANIFEST or path.suffix == ".onnx"
    }
    for name in sorted(folders | set(manifests.catalog())):
        folder = models_dir / name
        if name not in folders:
            say(f"{name}: not installed; install it with: make models PACK={name}")
            _describe(manifests.read(manifests.catalog()[name]), say=say)
        elif not (folder / MANIFEST).is_file():
            say(f"{name}: model files without a manifest in {folder}; VULTUS_ENGINE=insightface runs them unverified")
        else:
            _list_installed(folder, say=say)


def _list_installed(folder: Path, *, say: Say) -> None:
    name = folder.name
    try:
        whole = manifests.read(folder / MANIFEST)
    except SettingsError as error:
        say(f"{name}: {error}; VULTUS_ENGINE=insightface may be able to run it")
        return
    if wrong := manifests.damage(folder, whole):
        state = f"DAMAGED, {wrong}"
    elif left := unprepared(folder, whole):
        state = f"not prepared ({', '.join(left)}), runs slower; prepare it with: python -m worker.packs prepare {name}"
    else:
        state = "prepared"
    say(f"{name}: installed in {folder}, {state}")
    _describe(whole.present(folder), say=say)
    for file in whole.files:
        if file.optional and not (folder / file.name).is_file():
            say(f"  optional  {file.role} {file.name}; add it with: python -m worker.packs add {name} FILE")


def _describe(manifest: Manifest, *, say: Say) -> None:
    models = [f"{file.role} {file.name}{' (optional)' * file.optional}" for file in manifest.files if file.role]
    say(f"  models    {', '.join(models)}")
    recogniser = manifest.file("recognition")
    known = recogniser is not None and recogniser.sha256 != manifests.UNCONFIRMED
    say(f"  contract  {manifest.contract('f32') if known else 'known once the pack is installed'}")
    if manifest.trusted_archives:
        say(f"  TRUSTED ON FIRST USE, never confirmed: {', '.join(manifest.trusted_archives)}")
    say(f"  licence   {manifest.licence.text}")


def _verify(models_dir: Path, pack: str, *, files_only: bool, say: Say) -> int:
    manifest, folder = manifests.installed(models_dir, pack), models_dir / pack
    say(f"{pack}: {len(manifest.files)} files match the manifest; {manifest.contract('f32')}")
    if files_only:
        return 0
    left = unprepared(folder, manifest)
    say(f"{pack}: " + (f"not prepared: {', '.join(left)}" if left else "the prepared graphs are intact"))
    from worker.engine import reference  # noqa: PLC0415 - loads libraries that other commands do not need
    from worker.engine.devices import choose_device  # noqa: PLC0415
    from worker.engine.insight import InsightEngine  # noqa: PLC0415
    from worker.engine.library import LibraryEngine  # noqa: PLC0415

    device = choose_device("cpu")
    engine = InsightEngine(models_dir, pack=pack, device=device)
    seen = reference.compare(engine, LibraryEngine(models_dir, pack=pack, device=device))
    if not seen.cosines:
        sys.stderr.write(f"{pack}: insightface detects no face in its own {seen.photograph} with these models\n")
        return 1
    say(
        f"{pack}: the embeddings of insightface and this engine for the {len(seen.cosines)} faces of {seen.photograph} "
        f"have a cosine of at least {min(seen.cosines):.7f}; this engine detects {seen.found} faces"
    )
    if not seen.agrees:
        sys.stderr.write(
            f"{pack}: this is below {reference.LEAST_COSINE}: the embeddings of this pack are wrong on this machine\n"
        )
    return 0 if seen.agrees else 1


def _source(text: str) -> Path:
    """Resolve a catalog name or a manifest file to the path of the manifest."""
    if text in manifests.catalog():
        return manifests.catalog()[text]
    if text.endswith(".json") and Path(text).is_file():
        return Path(text)
    msg = f"unknown pack: choose one of {', '.join(manifests.catalog())}, or pass a manifest file (*.json)"
    raise argparse.ArgumentTypeError(msg)


def _measure(folder: Path, manifest: Manifest, *, cache: Path | None = None) -> Measurement | str:
    from worker.engine.centroids import measured  # noqa: PLC0415 - loads libraries that other commands do not need

    return measured(folder, manifest, cache=cache)


def _compare(folder: Path, manifest: Manifest) -> Comparison | None:
    from worker.engine.runtimes import compared  # noqa: PLC0415 - loads libraries that other commands do not need

    return compared(folder, manifest)


def _print_measurement(models_dir: Path, pack: str, *, cache: Path, say: Say) -> None:
    """Print the measurement of a pack's recognition model in the format of `worker/packs/measured`."""
    result = _measure(models_dir / pack, manifests.installed(models_dir, pack), cache=cache)
    if isinstance(result, str):
        msg = f"{pack}: {result}"
        raise SettingsError(msg)
    say(result.model_dump_json(indent=2))


def _accepted(manifest: Manifest, *, already: bool, say: Say) -> bool:
    say(f"{manifest.name}: {manifest.licence.text}\nSee {manifest.licence.url}")
    if already:
        return True
    if not sys.stdin.isatty():
        return False
    return input(f"Do you accept this licence for {manifest.name}? Type yes: ").strip().lower() == "yes"


def _parser() -> argparse.ArgumentParser:
    default = Path(os.environ.get(f"{PREFIX}MODELS_DIR") or "models")
    about = f"folder of the packs (default: {PREFIX}MODELS_DIR, or models)"
    parser = argparse.ArgumentParser(prog="python -m worker.packs", description="Install and check model packs.")
    parser.add_argument("--models-dir", type=Path, default=default, help=about)
    common = argparse.ArgumentParser(add_help=False)  # also accepted after the command, without resetting the first
    common.add_argument("--models-dir", type=Path, default=argparse.SUPPRESS, help=about)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", parents=[common], help="known and installed packs: state, models, contract, licence")
    adding = commands.add_parser("install", parents=[common], help="fetch, check and install a pack")
    adding.add_argument("pack", type=_source, help=f"{', '.join(manifests.catalog())}, or a manifest file (*.json)")
    adding.add_argument("--accept-license", action="store_true", help="accept the pack's licence without a prompt")
    adding.add_argument(
        "--trust-on-first-use",
        action="store_true",
        help="install archives without a confirmed checksum and record their checksums for later installs",
    )
    adding.add_argument("--cache", type=Path, help="folder for downloaded archives (default: MODELS_DIR/.cache)")
    extending = commands.add_parser("add", parents=[common], help="add an optional file to an installed pack")
    extending.add_argument("pack")
    extending.add_argument("file", type=Path)
    preparing = commands.add_parser(
        "prepare", parents=[common], help="create faster equivalent graphs of an installed pack; compare the runtimes"
    )
    preparing.add_argument("pack")
    checking = commands.add_parser("verify", parents=[common], help="check files, graphs and embeddings of a pack")
    checking.add_argument("pack")
    checking.add_argument("--files-only", action="store_true", help="only check the files against their hashes")
    measuring = commands.add_parser(
        "measure", parents=[common], help="print the centroids of faces that a pack's recogniser cannot recognise"
    )
    measuring.add_argument("pack")
    measuring.add_argument("--cache", type=Path, help="folder for downloaded archives (default: MODELS_DIR/.cache)")
    return parser
