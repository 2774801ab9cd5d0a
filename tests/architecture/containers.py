"""The container files, resolved by Docker Compose itself and read from the Dockerfiles."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from dockerfile_parse import DockerfileParser

ROOT: Final = Path(__file__).resolve().parents[2]
GPU: Final = ("docker-compose.yml",)
CPU: Final = ("docker-compose.yml", "docker-compose.cpu.yml")
TWO_GPUS: Final = ("docker-compose.yml", "deploy/compose.two-gpus.yml")
COMPOSITIONS: Final = {"gpu": GPU, "cpu": CPU, "two-gpus": TWO_GPUS}
DOCKERFILES: Final = ("Dockerfile.api", "Dockerfile.worker")
HARDWARE: Final = ("gpu", "cpu", "openvino")


def compose(*arguments: str, files: tuple[str, ...], environment: Mapping[str, str] | None = None) -> str:
    """Run Docker Compose on these files without the caller's own settings; return its output."""
    command = [str(Path(sys.executable).parent / "docker-compose"), "--env-file", os.devnull]
    command += ["--profile", "*", *(part for file in files for part in ("-f", file)), *arguments]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    run = subprocess.run(
        command, cwd=ROOT, env={**kept, **(environment or {})}, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@cache
def composition(files: tuple[str, ...]) -> dict[str, Any]:
    """The composition as Compose resolves it with no outside settings."""
    resolved: dict[str, Any] = json.loads(compose("config", "--format", "json", files=files))
    return resolved


def services(files: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Its services by name."""
    found: dict[str, dict[str, Any]] = composition(files)["services"]
    return found


def every_service() -> Iterator[tuple[str, dict[str, Any]]]:
    """The services of all compositions, by name."""
    for files in COMPOSITIONS.values():
        yield from services(files).items()


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """The environment of the service's process with no outside settings."""
    return {name: value for name, value in service.get("environment", {}).items() if value is not None}


def seconds(duration: str) -> float:
    """Parse a duration such as `1m40s` as Compose prints it."""
    total, number = 0.0, ""
    for character in duration:
        if character in "hms":
            total += float(number) * {"h": 3600, "m": 60, "s": 1}[character]
            number = ""
        else:
            number += character
    return total


def dockerfile(name: str, *, hardware: str = "gpu") -> DockerfileParser:
    """A parsed Dockerfile."""
    content = (ROOT / name).read_bytes()
    return DockerfileParser(fileobj=io.BytesIO(content), build_args={"HARDWARE": hardware})


def instructions(name: str, kind: str, *, hardware: str = "gpu") -> list[str]:
    """The values of all instructions of one kind, with the build argument filled in."""
    values = [step["value"] for step in dockerfile(name).structure if step["instruction"] == kind]
    return [value.replace("${HARDWARE}", hardware) for value in values]


def locked(name: str) -> set[str]:
    """The packages of one locked set."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return {line.split("==")[0].lower() for line in lines if "==" in line and not line.startswith((" ", "#"))}
