"""Active liveness sessions: steps, states, reasons, and the stored record."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from shared.tenants import DEFAULT
from shared.webhooks.schemas import Webhook


class Step(StrEnum):
    """What the person at the camera must do. Left and right are the person's own."""

    LOOK_STRAIGHT = "look_straight"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    LOOK_UP = "look_up"
    COME_CLOSER = "come_closer"
    BLINK = "blink"


TURNS: Final = (Step.TURN_LEFT, Step.TURN_RIGHT)
"""The only steps that show that a face is not flat."""


class SessionStatus(StrEnum):
    """State of a session. All but `running` are final."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"


class Reason(StrEnum):
    """Why a session did not pass: the closed list."""

    FLAT_FACE = "flat_face"
    STILL_PICTURE = "still_picture"
    REPLAYED_FRAME = "replayed_frame"
    WRONG_STEP = "wrong_step"
    LATE_FRAME = "late_frame"
    STEP_TIMEOUT = "step_timeout"
    OUT_OF_ORDER = "out_of_order"
    ANOTHER_PERSON = "another_person"
    NOT_LIVE = "not_live"
    NOT_THE_REFERENCE = "not_the_reference"
    EMBEDDING_CONTRACT_MISMATCH = "embedding_contract_mismatch"
    SEVERAL_FACES = "several_faces"
    NO_FACE = "no_face"
    TOO_MANY_FRAMES = "too_many_frames"
    NOT_ANALYZED = "not_analyzed"
    NOT_RECOGNISABLE = "not_recognisable"
    SESSION_TIMEOUT = "session_timeout"


GRACE: Final = timedelta(seconds=2)
"""How long after a step has timed out a frame is still answered as late. Then the sweep ends the session."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to open. `steps` is the whole challenge in order."""

    id: str
    steps: tuple[Step, ...]
    length: timedelta
    """Time from opening until no more frames are accepted."""
    step_length: timedelta
    """Time for each step, from the end of the previous one."""
    most_frames: int
    result_ttl: timedelta
    tenant: str = DEFAULT
    metadata: Mapping[str, Any] = field(default_factory=dict)
    webhook: Webhook | None = field(default=None, repr=False)
    memory: str = field(default="", repr=False)
    """Face data needed during the session, as text; initially the reference. Erased when the session ends."""


@dataclass(frozen=True, slots=True)
class FrameInWork:
    """The frame of a session that is being analyzed. There is at most one."""

    job_id: str
    """Also the session's fencing token: only the completion of this job advances the session."""
    digest: str
    sequence: int
    taken_at: float
    """By the client's clock, in seconds."""
    received_at: float
    """By the ledger's clock, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Session:
    """A stored session. Times are seconds since the epoch by the ledger's clock."""

    id: str
    status: SessionStatus
    created_at: float
    ends_at: float
    steps: tuple[Step, ...]
    step_length: float
    most_frames: int
    tenant: str = DEFAULT
    version: int = 0
    """Number of changes to the record."""
    frames: int = 0
    """Number of frames accepted for analysis."""
    step_ends_at: float | None = None
    """When the current step times out. The first step starts with the first frame."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    webhook: Webhook | None = field(default=None, repr=False)
    progress: str = ""
    """What the person has shown so far, as text. Kept with the result."""
    memory: str = field(default="", repr=False)
    """Face data needed during the session, as text. Erased when the session ends."""
    frame: FrameInWork | None = None
    reason: Reason | None = None
    finished_at: float | None = None
    expires_at: float | None = None


_ID: Final = re.compile(r"live_[0-9a-f]{34}")


def new_session_id(*, shard: int, now_ms: int) -> str:
    """Return a new session id in the format of a job id: shard, creation time, 80 random bits."""
    return f"live_{shard:02x}{now_ms:012x}{secrets.randbits(80):020x}"


def is_session_id(text: str) -> bool:
    """Return whether `text` has the form of a session id. The session need not exist."""
    return _ID.fullmatch(text) is not None
