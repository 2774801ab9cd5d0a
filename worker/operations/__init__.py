"""The operations on decoded pictures, each in a module of its own name."""

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
"""Each takes the parameters that `shared.operations.PARAMS` names for it."""


def run(operation: Operation, params: FindParams, work: Work) -> Result:
    """Do one operation. Every position in the result is in the pixels of the whole upright image.

    Raises:
        JobError: the job cannot be done as asked: another embedding contract, a model that the pack lacks or that
            fails, a detector size that it cannot take.
    """
    if not isinstance(params, PARAMS[operation]):
        msg = f"expected {PARAMS[operation].__name__}, got {type(params).__name__}"
        raise TypeError(msg)
    return OPERATIONS[operation](params, work)
