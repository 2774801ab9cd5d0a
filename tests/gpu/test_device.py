"""On a GPU: the models run there and nowhere else, say what they say on the CPU, and keep their memory flat."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tests.photos import SIX_FACES
from tools.setup import models_dir
from worker.engine.base import Image
from worker.engine.devices import CUDA, choose_device
from worker.engine.insight import InsightEngine
from worker.images import decode

FLAT = 64 << 20
"""Bytes that memory may grow by after it has seen every batch size."""


@cache
def engine(provider: str) -> InsightEngine:
    device = choose_device("cuda" if provider == "cuda" else "cpu")
    return InsightEngine(models_dir(), pack="compact", device=device)


def photo() -> Image:
    return decode(SIX_FACES.read_bytes(), max_pixels=40_000_000).pixels


def cosines(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = (rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, two))
    result: NDArray[np.float64] = (a * b).sum(axis=1)
    return result


def used_bytes() -> int:
    """Memory of the GPU in use, as the driver says."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    assert ctypes.CDLL("libcuda.so.1").cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    return total.value - free.value


def test_every_heavy_operator_runs_on_the_gpu() -> None:
    assert engine("cuda").info.provider == CUDA  # the audit has refused anything else before


def test_it_finds_and_embeds_the_same_faces_as_the_cpu() -> None:
    image = photo()
    ours, theirs = (engine(provider).detect(image) for provider in ("cuda", "cpu"))
    assert len(ours) == len(theirs) == 6
    crops = engine("cpu").align(image, theirs)
    assert cosines(engine("cuda").embed(crops), engine("cpu").embed(crops)).min() > 0.9999


def test_memory_stays_flat_over_mixed_batch_sizes() -> None:
    one = engine("cuda")
    crops = one.align(photo(), one.detect(photo()))
    sizes = np.random.default_rng(1).integers(1, 40, 200)
    for size in sizes[:50]:
        one.embed(np.resize(crops, (int(size), *crops.shape[1:])))
    settled = used_bytes()
    for size in sizes[50:]:
        one.embed(np.resize(crops, (int(size), *crops.shape[1:])))
    assert used_bytes() - settled < FLAT


def test_jobs_joined_from_eight_threads_get_what_each_gets_alone() -> None:
    one, image = engine("cuda"), photo()
    alone = one.embed(one.align(image, one.detect(image)))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda _: one.embed(one.align(image, one.detect(image))), range(32)))
    assert min(cosines(vectors, alone).min() for vectors in together) > 0.9999
