"""One run of one target, guided by coverage: `python -m tests.fuzz.guided TARGET LIMIT SEED FOLDER`."""

import sys
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["api", "worker", "shared", "python_multipart", "starlette.formparsers"]):
    from tests.fuzz.targets import TARGETS

LONGEST: Final = 4096
MEMORY_MB: Final = 2048
SLOWEST: Final = 20
"""Seconds for one input."""


def main() -> None:
    """Fuzz up to the limit (`max_total_time=60` or `runs=1000`); keep the first input that breaks a promise."""
    name, limit, seed, folder = sys.argv[1:]
    target = TARGETS[name]
    corpus = Path(folder) / "seeds"
    corpus.mkdir()
    for number, data in enumerate(target.seeds()):
        if len(data) <= LONGEST:
            (corpus / f"{number:04}").write_bytes(data)
    options = [
        f"-{limit}",
        f"-seed={seed}",
        f"-max_len={LONGEST}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={SLOWEST}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
