"""The operations on decoded pictures, one module each."""

from collections.abc import Callable
from typing import Any, Final

from shared.operations import PARAMS, FindParams, Operation
from shared.results import FacesResult, FrameResult, LivenessResult, RegisterResult, VerifyResult
from worker.operations.faces import analyze, detect, embed
from worker.operations.frame import frame
from worker.operations.liveness import liveness
from worker.operations.register import register
from worker.operations.verify import verify
from worker.operations.work import Work, min_long_side

__all__ = ["Work", "min_long_side", "run"]

Result = FacesResult | VerifyResult | LivenessResult | RegisterResult | FrameResult

OPERATIONS: Final[dict[Operation, Callable[[Any, Work], Result]]] = {
    Operation.DETECT: detect,
    Operation.EMBED: embed,
    Operation.VERIFY: verify,
    Operation.LIVENESS: liveness,
    Operation.REGISTER: register,
    Operation.ANALYZE: analyze,
    Operation.FRAME: frame,
}
"""Each operation takes the parameters listed in `shared.operations.PARAMS`."""


def run(operation: Operation, params: FindParams, work: Work) -> Result:
    """Run one operation. Every position in the result is in pixels of the whole upright image.

    Raises:
        JobError: the job cannot be completed: another embedding contract, a missing or failing model, or an
            unsupported detector size.
    """
    if not isinstance(params, PARAMS[operation]):
        msg = f"expected {PARAMS[operation].__name__}, got {type(params).__name__}"
        raise TypeError(msg)
    return OPERATIONS[operation](params, work)
