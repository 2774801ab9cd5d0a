"""Active liveness sessions: their steps, their ends and why, and the record that the ledger keeps of one."""

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
    """What the person at the camera is asked to do. Left and right are the person's own."""

    LOOK_STRAIGHT = "look_straight"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    LOOK_UP = "look_up"
    COME_CLOSER = "come_closer"
    BLINK = "blink"


TURNS: Final = (Step.TURN_LEFT, Step.TURN_RIGHT)
"""Only these show that a face is not flat."""


class SessionStatus(StrEnum):
    """Where a session is in its life; only `running` ever changes."""

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
"""How long after a step's time a frame still comes to be told that it is late; then the sweep ends the session."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that is to be opened. `steps` is the whole challenge in its order."""

    id: str
    steps: tuple[Step, ...]
    length: timedelta
    """From its opening to the last moment that a frame is taken."""
    step_length: timedelta
    """The same of each step, from the end of the one before."""
    most_frames: int
    result_ttl: timedelta
    tenant: str = DEFAULT
    metadata: Mapping[str, Any] = field(default_factory=dict)
    webhook: Webhook | None = field(default=None, repr=False)
    memory: str = field(default="", repr=False)
    """What is remembered of faces, as text: the reference to begin with. Erased with the end."""


@dataclass(frozen=True, slots=True)
class FrameInWork:
    """The one frame of a session that is analysed now."""

    job_id: str
    """The session's fencing token: only its end moves the session on."""
    digest: str
    sequence: int
    taken_at: float
    """The client's clock, in seconds."""
    received_at: float
    """The ledger's clock."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the ledger holds it. Times are seconds since the epoch by the ledger's clock."""

    id: str
    status: SessionStatus
    created_at: float
    ends_at: float
    steps: tuple[Step, ...]
    step_length: float
    most_frames: int
    tenant: str = DEFAULT
    version: int = 0
    """Counts its changes."""
    frames: int = 0
    """Frames that were taken for analysis."""
    step_ends_at: float | None = None
    """When the step in hand is over; the first begins with the first frame."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    webhook: Webhook | None = field(default=None, repr=False)
    progress: str = ""
    """What has been shown so far, as text; kept with the result."""
    memory: str = field(default="", repr=False)
    """What is remembered of faces, as text; erased with the end."""
    frame: FrameInWork | None = None
    reason: Reason | None = None
    finished_at: float | None = None
    expires_at: float | None = None


_ID: Final = re.compile(r"live_[0-9a-f]{34}")


def new_session_id(*, shard: int, now_ms: int) -> str:
    """A fresh id, made as a job's is: shard, birth, 80 random bits."""
    return f"live_{shard:02x}{now_ms:012x}{secrets.randbits(80):020x}"


def is_session_id(text: str) -> bool:
    """True if `text` has the form of a session's id; says nothing about whether the session exists."""
    return _ID.fullmatch(text) is not None
