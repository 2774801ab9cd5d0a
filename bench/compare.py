"""Compare the host's overhead of two source trees: `python -m bench.compare TREE TREE` takes about two minutes.

Both trees serve at the same time, with models that return at once, and take turns. Other load on the machine therefore
affects both, and their ratio is more accurate than either figure. Use a worktree of the older commit as the first tree.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from bench import client, pictures, process_stats

CLIENTS: Final = 64
LOAD: Final = 2.5
"""Seconds that one tree serves before it is the other's turn."""
PROBES: Final = 10
"""Requests to one idle tree before it is the other's turn."""
PAUSE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree that is being served, and its samples by name, one per round."""

    target: client.Target
    processes: dict[str, list[int]]
    samples: dict[str, list[float]] = field(default_factory=dict)

    def load(self) -> None:
        """Saturate the service and add the CPU milliseconds of each process per job."""
        before = process_stats.processor_seconds(self.processes)
        load = client.closed_loop(self.target, clients=CLIENTS, warm=0, seconds=LOAD)
        after = process_stats.processor_seconds(self.processes)
        spent = process_stats.cpu_ms_per_job(before, after, answered=load.answered)
        for name in self.processes:
            self._add(f"{name}, CPU ms per job", spent[name])

    def probe(self) -> None:
        """Send single requests and add the time besides the engine's own."""
        probes = client.one_by_one(self.target, times=PROBES, pause=PAUSE)[1:]
        self._add("idle, ms besides the engine", median(process_stats.besides_engine_ms(probes)))

    def _add(self, name: str, value: float) -> None:
        self.samples.setdefault(name, []).append(value)


@contextmanager
def served(folder: Path) -> Iterator[Tree]:
    """Serve a tree with the environment of this process, and warm it up."""
    command = [sys.executable, str(Path(__file__).with_name("serve.py"))]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            about = json.loads(next(iter(process.stdout or ())))
            target = client.job(about["port"], pictures.portrait(), wait=60)
            client.closed_loop(target, clients=4, warm=0, seconds=2)
            yield Tree(target, about["processes"])
        finally:
            process.communicate()  # closes its standard input


def compare(folders: Sequence[Path], *, rounds: int) -> list[Tree]:
    """Measure both trees in turn, in alternating order."""
    with ExitStack() as stack:
        trees = [stack.enter_context(served(folder)) for folder in folders]
        for number in range(rounds):
            for tree in trees[:: 1 if number % 2 else -1]:
                tree.load()
        for number in range(3 * rounds):
            for tree in trees[:: 1 if number % 2 else -1]:
                tree.probe()
        return trees


def main() -> None:
    """Compare two trees and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("trees", nargs=2, type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    first, second = compare(options.trees, rounds=options.rounds)
    print(f"{'median':32} {'first':>8} {'second':>8} {'ratio':>8}")
    for name, samples in first.samples.items():
        others = second.samples[name]
        ratio = median(b / a for a, b in zip(samples, others, strict=True) if a)
        print(f"{name:32} {median(samples):8.3f} {median(others):8.3f} {ratio:8.3f}")


if __name__ == "__main__":
    main()
