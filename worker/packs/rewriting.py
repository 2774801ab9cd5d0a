"""Rewrite a model step by step and keep each step that proves equal to the original."""

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
"""Steps to try for a role, in this order, regardless of what runs the model."""
FREE_OTHERWISE: Final = ("zeroed dust", "any batch")
"""Steps to try for every other role."""

FASTER: Final = ("convolved PRelu", "joined convolutions")
"""Further steps to try for onnxruntime's own CPU kernels. OpenVINO gains nothing from the first, and its bf16 loses
precision: over 104 faces the lowest cosine to f32 falls from 0.9991 to 0.9972."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A model after a number of steps."""

    model: ModelProto
    steps: tuple[str, ...] = ()
    agreement: Agreement = field(default_factory=Agreement)
    rejected: dict[str, str] = field(default_factory=dict)
    """Steps that were left out, with the reason."""


def rewritten(start: Rewritten, steps: Sequence[str], *, original: Original) -> Rewritten:
    """Apply those of `steps` that change the model and prove equal to the original."""
    model, done, agreement, rejected = start.model, list(start.steps), start.agreement, dict(start.rejected)
    for step in steps:
        try:
            candidate = REWRITES[step](model)
            if candidate is model:
                continue
            agreement = original.agreement(candidate)
        except Exception as error:  # noqa: BLE001 - if a rewrite fails, the previous graph stays in use
            rejected[step] = str(error) or type(error).__name__
        else:
            model = candidate
            done.append(step)
    return Rewritten(model=model, steps=tuple(done), agreement=agreement, rejected=rejected)
