"""Unrecognizable faces with the real models: strangers no longer match, and good pictures stay good."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations

import numpy as np
import pytest

from shared.faces import Embedding
from shared.operations import Operation, parse_params
from tests.integration.test_engine_expectations import engine, expected, picture
from tests.photos import ASTRONAUT, SIX_FACES
from tests.unit.worker.operations.asking import no_clock
from tools.setup import models_dir
from worker import operations
from worker.engine.base import Image
from worker.engine.centroids import measured
from worker.engine.degradations import Kind, degraded
from worker.engine.portraits import Portrait
from worker.images import Picture, decode
from worker.operations import Work
from worker.packs.manifests import installed
from worker.packs.measurements import Measurement, known

PEOPLE = (
    "ageitgey+face_recognition/tests/test_images/obama.jpg",
    "ageitgey+face_recognition/tests/test_images/biden.jpg",
    "exadel-inc+CompreFace/embedding-calculator/sample_images/004_A.jpg",
    "exadel-inc+CompreFace/embedding-calculator/sample_images/007_B.jpg",
    "exadel-inc+CompreFace/embedding-calculator/sample_images/009_C.jpg",
    "minivision-ai+Silent-Face-Anti-Spoofing/images/sample/image_T1.jpg",
)
REFUSED: tuple[Kind, ...] = (
    "turned_180", "turned_90", "turned_270", "light_5", "light_2", "blur_4", "blur_7", "blur_10", "blur_12",
    "motion_blur",
)  # fmt: skip
"""Damage after which almost no face may pass; with other kinds some faces rightly remain recognizable."""
OTHERS: tuple[Kind, ...] = (
    "light_5_noisy", "face_24_px", "face_20_px", "jpeg_5", "overexposed", "lower_half_covered", "eyes_covered",
)  # fmt: skip


def whole(image: Image) -> Picture:
    return Picture(image, image.shape[1], image.shape[0])


def work(image: Image, reference: Image | None = None) -> Work:
    other = None if reference is None else whole(reference)
    return Work(engine=engine(), clock=no_clock, image=whole(image), reference=other)


def cut_out(image: Image) -> list[Portrait]:
    """Each face with one face width of surroundings."""
    portraits = []
    for face in engine().detect(image):
        left, top, right, bottom = map(round, face.box)
        reach = right - left
        part = image[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach].copy()
        portraits.append(Portrait(part, engine().detect(part)[0]))
    return portraits


@cache
def actors() -> list[Portrait]:
    """Six people who are not in any centroid."""
    return cut_out(decode(SIX_FACES.read_bytes(), max_pixels=40_000_000).pixels)


@cache
def labelled_people() -> list[Portrait]:
    return [cut_out(picture(name))[0] for name in PEOPLE]


def embeddings(people: Sequence[Portrait], kind: Kind) -> list[Embedding]:
    """The embeddings that a job computes for the damaged pictures; a picture without a face is left out."""
    found: list[Embedding] = []
    for portrait in people:
        job = work(degraded(portrait.image, portrait.face, kind))
        faces = engine().detect(job.image.pixels)[:1]
        found += job.embed(job.align(job.image, faces), faces)
    return found


def recognisable(embedding: Embedding) -> bool:
    assert embedding.recognisability is not None
    return embedding.recognisability.recognisable


def matches(found: Sequence[Embedding]) -> int:
    """Pairs of strangers that would be verified."""
    limit = engine().info.thresholds.match
    return sum(
        float(np.dot(one.vector, two.vector)) > limit and recognisable(one) and recognisable(two)
        for one, two in combinations(found, 2)
    )


@pytest.mark.parametrize("kind", REFUSED)
def test_unrecognizable_strangers_do_not_match(kind: Kind) -> None:
    found = embeddings(actors(), kind)
    assert matches(found) == 0
    assert sum(map(recognisable, found)) <= 1


@pytest.mark.parametrize("kind", OTHERS)
def test_strangers_on_bad_pictures_do_not_match(kind: Kind) -> None:
    assert matches(embeddings([*labelled_people(), *actors()], kind)) <= (2 if "covered" in kind else 0)  # of 66 pairs


@pytest.mark.parametrize("kind", ["light_2", "light_5", "blur_10"])
def test_a_verification_of_two_unrecognizable_strangers_is_inconclusive(kind: Kind) -> None:
    [astronaut] = cut_out(decode(ASTRONAUT.read_bytes(), max_pixels=40_000_000).pixels)
    one, two = (degraded(each.image, each.face, kind) for each in (astronaut, actors()[0]))
    result = operations.run(Operation.VERIFY, parse_params(Operation.VERIFY, {}), work(one, two))
    assert result.kind == "verify"
    assert (result.verified, result.decision) == (False, "inconclusive")


@pytest.mark.parametrize("kind", ["light_5", "blur_10"])
def test_a_registration_of_an_unrecognizable_face_is_refused(kind: Kind) -> None:
    portrait = actors()[0]
    params = parse_params(Operation.REGISTER, {"quality": "off", "skip_liveness": True})
    result = operations.run(Operation.REGISTER, params, work(degraded(portrait.image, portrait.face, kind)))
    assert result.kind == "register"
    assert (result.registered, result.reason) == (False, "recognisability")


def test_every_undamaged_labelled_portrait_is_recognizable() -> None:
    refused = {}
    for name, entry in expected().items():
        if "error" in entry or not entry["faces"]:
            continue
        job = work(picture(name))
        result = operations.run(Operation.EMBED, parse_params(Operation.EMBED, {"select": "largest"}), job)
        assert result.kind == "faces"
        for face in result.faces:
            assert face.embedding is not None
            if not recognisable(face.embedding):
                refused[name, face.box] = face.embedding.recognisability
    assert refused == {}


def test_the_committed_centroids_match_the_measured_ones() -> None:
    manifest = installed(models_dir(), "compact")
    result = measured(models_dir() / "compact", manifest, cache=models_dir() / ".cache")
    committed = known(manifest.recogniser.sha256)
    assert isinstance(result, Measurement)
    assert committed is not None
    if result.pictures != committed.pictures:
        pytest.skip("the archives with the portraits are not in the cache of the models")
    rows = [np.array(each.measure().centroids) for each in (result, committed)]
    assert np.einsum("ij,ij->i", *rows).min() > 0.9999  # another machine rounds a few numbers to their neighbors
