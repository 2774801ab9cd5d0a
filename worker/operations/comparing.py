"""Compare embeddings of one contract: with stored ones, and those of one person with each other."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import ErrorCode, JobError
from shared.faces import Embedding, Recognisability, unit
from shared.operations import ReferenceEmbedding
from worker.engine.base import EngineInfo

LEAST_WEIGHT: Final = 0.01
"""Weight of an image whose score is missing or 0, so that every image counts."""


def checked(reference: ReferenceEmbedding, info: EngineInfo, *, name: str) -> list[float]:
    """Return the unit vector of a stored embedding if this worker's models can compare it.

    Raises:
        JobError: `embedding_contract_mismatch`, or `invalid_embedding` if the length differs.
        EmbeddingError: the vector cannot be compared by cosine.
    """
    if reference.contract is not None and reference.contract != info.contract:
        raise JobError(
            ErrorCode.EMBEDDING_CONTRACT_MISMATCH,
            f"{name} has contract {reference.contract}; this worker's models have {info.contract}.",
        )
    if len(reference.vector) != info.embedding_size:
        raise JobError(
            ErrorCode.INVALID_EMBEDDING,
            f"{name} has {len(reference.vector)} numbers; this worker's models produce {info.embedding_size}.",
        )
    return unit(reference.vector, name=name)


def similarities(embedding: Embedding, others: Sequence[Sequence[float]]) -> list[float]:
    """Return the cosine similarity of an embedding to each of several unit vectors.

    The results equal those of `shared.faces.cosine`, which would normalize both vectors for every pair.
    """
    vector = unit(embedding.vector, name="The embedding")
    return [_dot(vector, other) for other in others]


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the product of two unit vectors; only rounding can leave the range -1 to 1."""
    return max(-1.0, min(1.0, math.fsum(map(operator.mul, one, other))))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Which of several embeddings belong to one person."""

    members: tuple[bool, ...]
    similarities: tuple[float, ...]
    """Similarity of each embedding to the central one; for the central one, to its nearest neighbor."""


def agreement(embeddings: Sequence[Embedding], *, match: float) -> Agreement:
    """Find the majority: the embedding that most others match, together with those matches, if more than half of all.

    Without a majority, as with two embeddings that do not match, there are no members, because it is unknown which one
    is the outlier. Ties go to the embedding with the higher similarities, then to the first.
    """
    units = [unit(embedding.vector, name="The embedding") for embedding in embeddings]
    between: NDArray[np.float64] = np.array([[_dot(one, other) for other in units] for one in units])
    np.fill_diagonal(between, -1.0)
    matches = between > match
    centre = max(range(len(embeddings)), key=lambda index: (int(matches[index].sum()), float(between[index].sum())))
    members = matches[centre].copy()
    members[centre] = True
    if 2 * members.sum() <= len(embeddings):
        members[:] = False
    nearest = between[centre].copy()
    nearest[centre] = between[centre].max()
    return Agreement(tuple(members.tolist()), tuple(nearest.tolist()))


def template(embeddings: Sequence[Embedding]) -> Embedding:
    """Combine several embeddings of one person: the normalized weighted mean of the unit vectors, and the mean length.

    The weight is the length of the raw embedding, times the recognisability score if available, so that a bad picture
    among good ones moves the template less (docs/models.md, "Recognisability").

    Raises:
        JobError: `model_failure` if the embeddings cancel each other out.
    """
    if len(embeddings) == 1:
        return embeddings[0]
    weights = [embedding.length * _score(embedding) for embedding in embeddings]
    mean = np.average([embedding.vector for embedding in embeddings], axis=0, weights=weights)
    length = float(np.linalg.norm(mean))
    if length == 0:
        raise JobError(ErrorCode.MODEL_FAILURE, "The embeddings of the images cancel each other out.")
    return Embedding(
        vector=(mean / length).tolist(),
        length=float(np.mean([embedding.length for embedding in embeddings])),
        contract=embeddings[0].contract,
        recognisability=_joined([embedding.recognisability for embedding in embeddings]),
    )


def _score(embedding: Embedding) -> float:
    verdict = embedding.recognisability
    return LEAST_WEIGHT if verdict is None or verdict.score is None else max(verdict.score, LEAST_WEIGHT)


def _joined(verdicts: Sequence[Recognisability | None]) -> Recognisability | None:
    """Return the mean score of a template if all members were judged recognisable, else None."""
    known = [verdict for verdict in verdicts if verdict is not None and verdict.recognisable]
    if len(known) < len(verdicts):
        return None
    scores = [verdict.score for verdict in known if verdict.score is not None]
    mean = round(float(np.mean(scores)), 4) if len(scores) == len(known) else None
    return Recognisability(recognisable=True, score=mean)
