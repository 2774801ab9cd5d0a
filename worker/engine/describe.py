"""Describe an engine by the manifest of its pack."""

from collections.abc import Sequence
from pathlib import Path

from worker.engine.base import AttributeName, EngineInfo
from worker.packs.manifests import Manifest
from worker.packs.prepare import recognisability


def described(
    manifest: Manifest,
    *,
    folder: Path,
    contract: str,
    provider: str,
    attributes: Sequence[AttributeName],
    largest_side: int,
    coarse_to_fine: bool = False,
) -> EngineInfo:
    """Return the identity of an engine that runs the pack in `folder`; omit a calibration for another contract.

    The recognisability measure is valid for every precision: bf16 changes embeddings by at most 0.0006 in cosine.
    """
    table = manifest.calibration
    liveness = manifest.files_of("liveness")
    return EngineInfo(
        pack=manifest.name,
        contract=contract,
        provider=provider,
        embedding_size=manifest.embedding_size,
        liveness_model="+".join(f"{Path(file.name).stem}-{file.sha256[:8]}" for file in liveness) or None,
        thresholds=manifest.thresholds,
        attributes=tuple(attributes),
        largest_side=largest_side,
        coarse_to_fine=coarse_to_fine,
        recognisability=recognisability(folder, manifest.recogniser.sha256, limits=manifest.recognisability),
        calibration=table if table and table.contract == contract else None,
    )
