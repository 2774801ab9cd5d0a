"""Run every model of an engine once, before its first job."""

import numpy as np

from shared.errors import JobError, SettingsError
from worker.engine import align
from worker.engine.base import Detection, Engine
from worker.engine.detector import GREY


def warm_up(engine: Engine) -> None:
    """Run every model once, so that the first job does not pay for allocations, and check the embedding size.

    Raises:
        SettingsError: a model fails, or the embedding size differs from the manifest's.
    """
    info = engine.info
    image = np.full((info.largest_side, info.largest_side, 3), GREY, np.uint8)
    corner = info.largest_side / 4
    points = tuple((corner + x, corner + y) for x, y in align.TEMPLATE.tolist())
    face = Detection(box=(corner, corner, corner + align.SIZE, corner + align.SIZE), landmarks=points, score=1.0)
    try:
        engine.detect(image)
        size = engine.embed(engine.align(image, [face])).shape[1]
        engine.attributes(image, [face], info.attributes)
        if info.liveness_model is not None:
            engine.liveness(image, face)
    except JobError as error:
        msg = f"The model pack {info.pack} fails its first run: {error.detail}"
        raise SettingsError(msg) from None
    if size != info.embedding_size:
        msg = (
            f"The model pack {info.pack} does not fit this engine: the recogniser returns {size} numbers, but the "
            f"manifest says {info.embedding_size}"
        )
        raise SettingsError(msg)
