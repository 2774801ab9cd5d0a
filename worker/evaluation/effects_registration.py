"""Measure the quality gates of a registration: how many pictures they refuse, and how the others match."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, get_args

import numpy as np

from shared.faces import CheckName, Embedding
from shared.operations import RegisterParams
from shared.quality import Profile
from shared.results import RegisterResult
from worker.engine.base import Detection
from worker.engine.degradations import resampled
from worker.evaluation.effects_laboratory import Laboratory, Sample, face_width, percent, similarities, whole
from worker.evaluation.people import Matrix
from worker.images import Picture

AS_THEY_ARE: Final = "as they are"
FRUGAL: Final = "100 px, JPEG 75"
"""Resampled to a face width of 100 pixels."""
VARIANTS: Final = (AS_THEY_ARE, FRUGAL)
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)
HEADINGS: Final = (
    f"{'pictures':<20}{'profile':<10}{'accepted':>10}{'without':>10}{'true accepts':>20}{'accepted that':>16}",
    f"{'':<40}{'liveness':>10}{'before':>10}{'after':>10}{'fail their own':>16}",
)
LEGEND: Final = (
    "Accepted: share of the pictures; the second column ignores liveness. True accepts: share of the pairs of one",
    "person above the threshold, among all pictures and among the accepted ones (ignoring liveness). Accepted that",
    "fail their own: accepted pictures that match less than half of the other accepted pictures of their person.",
)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One picture: its embedding regardless of the gates, and its registration with each profile."""

    embedding: Embedding | None
    results: Mapping[Profile, RegisterResult]

    def failures(self, profile: Profile) -> set[str]:
        """Return the names of the failed checks."""
        return {check.name for check in self.results[profile].checks if not check.passed}


def registration(laboratory: Laboratory) -> Iterator[str]:
    """Yield the share that each profile accepts, how well those match, and what each gate refuses."""
    enrolments = {
        variant: laboratory.each(partial(_enrolment, laboratory, variant), laboratory.samples) for variant in VARIANTS
    }
    match = laboratory.engine.info.thresholds.match
    yield f"REGISTRATION of {len(laboratory.samples)} pictures, a match above {match:g}"
    yield ""
    yield from HEADINGS
    for variant in VARIANTS:
        for profile in PROFILES:
            yield _line(variant, profile, enrolments[variant], laboratory)
    yield ""
    yield from LEGEND
    yield ""
    yield from _gates(enrolments)


def _enrolment(laboratory: Laboratory, variant: str, sample: Sample) -> Enrolment:
    picture = laboratory.picture(sample.path)
    if variant != AS_THEY_ARE:
        picture = _frugal(picture, sample)
    skip = laboratory.engine.info.liveness_model is None
    results = {}
    for profile in PROFILES:
        params = RegisterParams(**laboratory.params.model_dump(), quality=profile, skip_liveness=skip)
        results[profile] = laboratory.register(picture, params)
    return Enrolment(laboratory.embedding(picture), results)


def _frugal(picture: Picture, sample: Sample) -> Picture:
    width = face_width(sample, picture)
    face = Detection(box=(0.0, 0.0, width, width), landmarks=(), score=1.0)  # only its width matters
    return whole(resampled(picture.pixels, face))


def _line(variant: str, profile: Profile, enrolments: Sequence[Enrolment], laboratory: Laboratory) -> str:
    match, same = laboratory.engine.info.thresholds.match, laboratory.people.same
    failures = [each.failures(profile) for each in enrolments]
    accepted = np.array([not names - {"liveness"} for names in failures], bool)
    before, _ = similarities([each.embedding for each in enrolments], same)
    kept = [each.embedding if passed else None for each, passed in zip(enrolments, accepted, strict=True)]
    after, _ = similarities(kept, same)
    return (
        f"{variant:<20}{profile:<10}{percent(np.array([not names for names in failures])):>10}"
        f"{percent(accepted):>10}{percent(before > match):>10}{percent(after > match):>10}"
        f"{_strange(kept, same, match=match):>16}"
    )


def _strange(row: Sequence[Embedding | None], same: Matrix, *, match: float) -> int:
    """Return how many of these match less than half of the others of their person."""
    alone = 0
    for index, embedding in enumerate(row):
        others = [row[other] for other in np.nonzero(same[index])[0].tolist()]
        vectors = [other.vector for other in others if other is not None]
        if embedding is not None and vectors:
            alone += bool((np.array(vectors) @ np.array(embedding.vector) > match).mean() < 0.5)  # noqa: PLR2004 - half
    return alone


def _gates(enrolments: Mapping[str, Sequence[Enrolment]]) -> Iterator[str]:
    """Yield what each gate refuses, and what it alone refuses, which is the cost of the gate."""
    profiles: tuple[Profile, ...] = ("standard", "strict")
    columns = [(profile, variant) for profile in profiles for variant in VARIANTS]
    refused: dict[tuple[Profile, str], Counter[str]] = {}
    alone: dict[tuple[Profile, str], Counter[str]] = {}
    for profile, variant in columns:
        failures = [each.failures(profile) for each in enrolments[variant]]
        refused[profile, variant] = Counter(name for names in failures for name in names)
        alone[profile, variant] = Counter(name for names in failures if len(names) == 1 for name in names)
    yield f"{'refused by (by it alone)':<26}" + "".join(f"{profile:>18}" for profile, _ in columns)
    yield f"{'':<26}" + "".join(f"{variant:>18}" for _, variant in columns)
    for name in get_args(CheckName):
        if not any(counter[name] for counter in refused.values()):
            continue
        cells = [f"{refused[column][name]} ({alone[column][name]})" for column in columns]
        yield f"{name:<26}" + "".join(f"{cell:>18}" for cell in cells)
