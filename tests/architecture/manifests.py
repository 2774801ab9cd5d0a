"""The Kubernetes files as kustomize assembles them: nothing is patched, so collecting them is enough."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from tests.architecture.containers import ROOT

KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
OVERLAYS: Final = ("cpu", "gpu")
VERSION: Final = "1.34"
"""The Kubernetes version whose schemas the files are checked against."""
Resource = dict[str, Any]


def read(path: Path) -> list[Resource]:
    """Every document of a file."""
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


def kustomization(folder: Path) -> Resource:
    """The kustomization file of a folder."""
    (found,) = read(folder / "kustomization.yaml")
    return found


def _collected(folder: Path) -> Iterator[Resource]:
    for name in kustomization(folder)["resources"]:
        path = (folder / name).resolve()
        yield from _collected(path) if path.is_dir() else read(path)


@cache
def deployed(name: str) -> tuple[Resource, ...]:
    """All resources of an overlay, or of another folder."""
    overlay = KUBERNETES / "overlays" / name
    return tuple(_collected(overlay if overlay.is_dir() else KUBERNETES / name))


def one(name: str, kind: str, called: str) -> Resource:
    """The resource of this kind and name."""
    (found,) = [r for r in deployed(name) if (r["kind"], r["metadata"]["name"]) == (kind, called)]
    return found


def pods(name: str) -> dict[str, Resource]:
    """The pod templates of an overlay by the name of their workload."""
    return {r["metadata"]["name"]: r["spec"]["template"] for r in deployed(name) if "template" in r.get("spec", {})}


def container(pod: Resource) -> Resource:
    """Its only container."""
    (found,) = pod["spec"]["containers"]
    return dict(found)


def environment(name: str, pod: Resource) -> dict[str, str]:
    """The environment of its process."""
    environment: dict[str, str] = {}
    for source in container(pod).get("envFrom", []):
        environment |= one(name, "ConfigMap", source["configMapRef"]["name"])["data"]
    return environment | {each["name"]: each["value"] for each in container(pod).get("env", [])}
