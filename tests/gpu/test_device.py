"""On a GPU, the models run only there, agree with the CPU, and keep their memory flat."""

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.photos import NO_FACE, SIX_FACES
from tools.setup import ROOT, models_dir
from worker.engine.base import Image
from worker.engine.devices import CUDA, HEAVY, choose_device
from worker.engine.insight import InsightEngine
from worker.engine.sessions import OnnxSession, assigned_nodes
from worker.images import decode
from worker.packs.manifests import MANIFEST, Role, installed
from worker.packs.prepare import prepared

FLAT = 64 << 20
"""Bytes that memory may grow by after every batch size has run."""


@cache
def engine(provider: str) -> InsightEngine:
    if not (models_dir() / "compact" / MANIFEST).exists():
        pytest.fail("the compact pack is not installed; run: make setup")
    device = choose_device("cuda" if provider == "cuda" else "cpu")
    return InsightEngine(models_dir(), pack="compact", device=device)


def photo(path: Path = SIX_FACES) -> Image:
    return decode(path.read_bytes(), max_pixels=40_000_000).pixels


def cosines(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = (rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, two))
    result: NDArray[np.float64] = (a * b).sum(axis=1)
    return result


def used_bytes() -> int:
    """Used memory of the first GPU, as reported by the driver; other work on it disturbs the figure."""
    driver = ctypes.CDLL("libcuda.so.1")
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    # The driver needs a context: the one that CUDA's runtime shares among all users of a process.
    assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert driver.cuCtxSetCurrent(context) == 0
    assert driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    assert driver.cuDevicePrimaryCtxRelease_v2(0) == 0
    return total.value - free.value


def test_the_engine_reports_the_gpu() -> None:
    assert engine("cuda").info.provider == CUDA


@pytest.mark.parametrize("role", ["detection", "recognition", "liveness"])
def test_every_heavy_operator_runs_on_the_gpu(role: Role) -> None:
    file = installed(models_dir(), "compact").file(role)
    assert file is not None
    device = choose_device("cuda")
    session = OnnxSession(prepared(models_dir() / "compact", file, provider=device.provider), device)
    where = {provider for provider, operator, _ in assigned_nodes(session._session) if operator in HEAVY}
    assert where == {CUDA}


def test_a_worker_without_a_visible_gpu_does_not_fall_back_to_the_cpu() -> None:
    load = "from worker.engine.load import load_engine; from worker.settings import WorkerSettings as S; "
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{load} load_engine(S(provider='cuda', pack='compact', models_dir={str(models_dir())!r}))",
        ],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "the NVIDIA driver sees no GPU" in run.stderr


def test_the_gpu_finds_and_embeds_the_same_faces_as_the_cpu() -> None:
    image = photo()
    ours, theirs = (engine(provider).detect(image) for provider in ("cuda", "cpu"))
    assert len(ours) == len(theirs) == 6
    crops = engine("cpu").align(image, theirs)
    assert cosines(engine("cuda").embed(crops), engine("cpu").embed(crops)).min() > 0.9999


def test_memory_stays_flat_over_mixed_batch_sizes() -> None:
    """Frames of several shapes from several threads, then batches of one to forty faces."""
    one = engine("cuda")
    group = photo()
    frames = [group, photo(NO_FACE), group[:, :640], group[200:700, 300:]]
    crops = one.align(group, one.detect(group))

    def mixed(sizes: NDArray[np.int64]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda size: one.detect(frames[size % len(frames)]), sizes.tolist()))
            list(pool.map(lambda size: one.embed(np.resize(crops, (size, *crops.shape[1:]))), sizes.tolist()))

    sizes = np.random.default_rng(1).integers(1, 41, 240)
    mixed(sizes[:80])
    settled = used_bytes()
    mixed(sizes[80:])
    assert used_bytes() - settled < FLAT


def test_jobs_joined_from_eight_threads_get_the_results_of_each_alone() -> None:
    one, image = engine("cuda"), photo()
    alone = one.embed(one.align(image, one.detect(image)))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda _: one.embed(one.align(image, one.detect(image))), range(32)))
    assert min(cosines(vectors, alone).min() for vectors in together) > 0.9999
