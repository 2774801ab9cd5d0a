"""Rewrites one model step by step and keeps each step that proves equal to the original."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from onnx import ModelProto

from worker.packs import graphs
from worker.packs.manifests import Role
from worker.packs.proof import Agreement, Original

REWRITES: Final[dict[str, graphs.Rewrite]] = {
    "zeroed dust": graphs.with_zeroed_dust,
    "any size": graphs.with_free_sides,
    "any batch": graphs.with_free_batch,
    "convolved PRelu": graphs.with_convolved_prelu,
    "joined convolutions": graphs.with_joined_convolutions,
}

FREE: Final[dict[Role, tuple[str, ...]]] = {"detection": ("zeroed dust", "any size", "any batch")}
"""What is tried for a role, in this order, whatever runs the model."""
FREE_OTHERWISE: Final = ("zeroed dust", "any batch")
"""The same for every other role."""

FASTER: Final = ("convolved PRelu", "joined convolutions")
"""What is tried on top for onnxruntime's own CPU kernels. OpenVINO gains nothing from the first, and its bf16 loses
precision: over 104 faces the least cosine to f32 falls from 0.9991 to 0.9972."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A model after some steps."""

    model: ModelProto
    steps: tuple[str, ...] = ()
    agreement: Agreement = field(default_factory=Agreement)
    rejected: dict[str, str] = field(default_factory=dict)
    """Steps that were left out, with what was wrong."""


def rewritten(start: Rewritten, steps: Sequence[str], *, original: Original) -> Rewritten:
    """The model after those of `steps` that change it and prove equal to the original."""
    model, done, agreement, rejected = start.model, list(start.steps), start.agreement, dict(start.rejected)
    for step in steps:
        try:
            candidate = REWRITES[step](model)
            if candidate is model:
                continue
            agreement = original.agreement(candidate)
        except Exception as error:  # noqa: BLE001 - whatever makes a rewrite stumble, the graph before it runs
            rejected[step] = str(error) or type(error).__name__
        else:
            model = candidate
            done.append(step)
    return Rewritten(model=model, steps=tuple(done), agreement=agreement, rejected=rejected)
