"""Comparison of the runtimes for processors, onnxruntime and OpenVINO, on the models of one pack and one machine."""

import platform
import re
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pydantic import Field

from shared.faces import Strict
from worker.packs.manifests import Manifest

LEAST_SPEEDUP: Final = 1.1
"""OpenVINO must be this many times as fast, because it takes about twice the memory."""
PACKAGES: Final = ("onnxruntime", "onnxruntime-gpu", "openvino")
PROCESSORS: Final = Path("/proc/cpuinfo")


class Comparison(Strict):
    """How OpenVINO compares with onnxruntime; valid only for the machine and the versions that it was made with."""

    processor: str
    versions: dict[str, str]
    """Of the packages that are installed."""
    speedup: float = Field(gt=0, description="onnxruntime's processor time, divided by OpenVINO's.")
    different: str | None = Field(default=None, description="Where the outputs differ by more than rounding.")

    @property
    def prefers_openvino(self) -> bool:
        """True if OpenVINO gives the same outputs and is clearly faster."""
        return self.different is None and self.speedup >= LEAST_SPEEDUP

    @property
    def summary(self) -> str:
        """One line that says what `VULTUS_PROVIDER=auto` does."""
        if self.different is not None:
            return f"auto stays with onnxruntime: the outputs of OpenVINO differ ({self.different})"
        choice = "auto runs OpenVINO" if self.prefers_openvino else "auto stays with onnxruntime"
        return f"{choice}: OpenVINO is {self.speedup:.2f} times as fast, with the same outputs"

    @property
    def is_valid_here(self) -> bool:
        """True if it was made with this processor and the versions that are installed."""
        return (self.processor, self.versions) == (processor(), versions())


Compare = Callable[[Path, Manifest], Comparison | None]
"""Compares the runtimes with the prepared pack in a folder; returns None if there is only one."""


def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        names = re.search(r"^model name\s*:\s*(.+)$", PROCESSORS.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        names = None
    return names[1] if names else platform.processor() or platform.machine()


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
