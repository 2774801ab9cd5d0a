"""Request and response bodies of liveness sessions, for the server and for the client at the camera."""

from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field, model_validator

from api.http.request_bodies import File, FormSchema, json_body, multipart, request_body
from api.http.schemas import Time
from api.jobs.schemas import MAX_METADATA_BYTES, JobWebhook, ReferenceVector, WebhookSpec
from api.liveness.challenge import Hint, memory_of, progress_of
from api.liveness.movements import Evidence
from shared.job_content import rfc3339, webhook_content
from shared.liveness_sessions import TURNS, Reason, Session, SessionStatus, Step
from shared.submitted import Submitted

SESSION_ID: Final = "live_00019b8d3c1a386d5a7c90e1d24f68ab0c"

Movement = Literal[Step.TURN_LEFT, Step.TURN_RIGHT, Step.LOOK_UP, Step.COME_CLOSER, Step.BLINK]
USUAL: Final[tuple[Movement, ...]] = (Step.TURN_LEFT, Step.TURN_RIGHT, Step.LOOK_UP, Step.COME_CLOSER)


class SessionReference(Submitted):
    """The expected person: exactly one of an image file and an embedding."""

    base64: str | None = Field(default=None, description="An image file with one face, in base64. It is not stored.")
    embedding: ReferenceVector | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.base64 is None) == (self.embedding is None):
            msg = "give exactly one of base64 and embedding"
            raise ValueError(msg)
        return self


class SessionRequest(Submitted):
    """Options of a new session. All fields are optional."""

    movements: int = Field(default=3, ge=1, le=6, description="Number of movements in the challenge.")
    kinds: tuple[Movement, ...] = Field(
        default=USUAL,
        min_length=1,
        max_length=5,
        description="Movements to draw from. At least one must be a turn, and at least two kinds are needed if "
        "`movements` is greater than 1. `blink` requires a model pack with an eye model.",
    )
    seconds: int = Field(default=120, ge=10, le=600, description="Time limit of the session, in seconds from now.")
    step_seconds: int = Field(default=20, ge=3, le=120, description="Time limit of each step, in seconds.")
    reference: SessionReference | None = Field(default=None, description="The expected person.")
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description=f"Your own data, returned with the session. At most {MAX_METADATA_BYTES} bytes as JSON.",
    )
    webhook: WebhookSpec | None = Field(
        default=None, description="Where to report the outcome, in addition to the registered endpoints."
    )

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        if not set(self.kinds) & set(TURNS):
            msg = "kinds must include turn_left or turn_right: only a turn shows that a face is not flat"
            raise ValueError(msg)
        if self.movements > 1 and len(set(self.kinds)) == 1:
            msg = "kinds must include a second movement, because none occurs twice in a row"
            raise ValueError(msg)
        return self


class FrameForm(FormSchema):
    """The form of a frame."""

    image: File
    sequence: int = Field(ge=0, description="Sequence number of the image, greater than that of the previous one.")
    taken_at: float = Field(
        ge=0,
        description="When the image was taken, in milliseconds of a monotonic client clock such as "
        "`performance.now()`.",
    )


FRAME_BODY: Final = request_body(multipart(FrameForm, "image"))
SESSION_BODY: Final = request_body(
    json_body(
        SessionRequest,
        {
            "as it is": {},
            "two turns": {"movements": 2, "kinds": ["turn_left", "turn_right"], "metadata": {"case": "A-17"}},
        },
    ),
    required=False,
)
DOCUMENTED: Final = (FrameForm, SessionRequest)
"""Models that only hand-written parts of the OpenAPI document refer to."""


class SessionStep(BaseModel):
    """One step of the challenge."""

    step: Step
    status: Literal["passed", "asked", "waiting", "missed"] = Field(
        description="`asked`: the current step; `waiting`: a later step; `missed`: the session ended before the step."
    )
    passed_at: Time | None
    sequence: int | None = Field(description="Sequence number of the frame that completed the step.")
    evidence: list[Evidence] = Field(description="Measurements of that frame, with their limits.")


class SessionUrls(BaseModel):
    """Related URLs."""

    self: str
    frames: str
    cancel: str


class SessionBody(BaseModel):
    """A liveness session, for the server that opened it."""

    id: str = Field(examples=[SESSION_ID])
    status: SessionStatus
    reason: Reason | None = Field(description="Why the session did not pass.")
    created_at: Time
    ends_at: Time = Field(description="When the session expires if it is still running.")
    step_ends_at: Time | None = Field(description="Time limit of the current step; null before the first frame.")
    finished_at: Time | None
    expires_at: Time | None = Field(description="When the ended session is deleted.")
    steps: list[SessionStep]
    refused: list[Evidence] = Field(description="The failed measurements of the frame that ended the session, if any.")
    frames: int = Field(ge=0, description="Frames accepted so far.")
    most_frames: int
    metadata: dict[str, Any]
    webhook: JobWebhook | None
    urls: SessionUrls


class OpenedSession(SessionBody):
    """A new session with its client token."""

    client_token: str = Field(description="Token for the client at the camera. It is shown only once.")
    client_token_expires_at: Time


class ClientSession(BaseModel):
    """A liveness session, for the client at the camera: only the current step, and no measurements."""

    id: str = Field(examples=[SESSION_ID])
    status: SessionStatus
    reason: Reason | None
    step: Step | None = Field(description="The current step; null if the session has ended.")
    look_straight_first: bool = Field(description="True if the face must look straight before the movement counts.")
    number: int = Field(ge=0, description="Number of completed steps.")
    of: int = Field(description="Total number of steps.")
    hint: Hint | None = Field(description="Feedback on the last frame.")
    ends_at: Time
    step_ends_at: Time | None
    frames: int = Field(ge=0, description="Frames accepted so far.")


def session_path(session_id: str) -> str:
    """The path of a session."""
    return f"/v1/liveness-sessions/{session_id}"


def session_content(session: Session) -> dict[str, Any]:
    """The JSON content of a `SessionBody`."""
    path = session_path(session.id)
    return {
        "id": session.id,
        "status": session.status.value,
        "reason": session.reason and session.reason.value,
        "created_at": rfc3339(session.created_at),
        "ends_at": rfc3339(session.ends_at),
        "step_ends_at": rfc3339(session.step_ends_at),
        "finished_at": rfc3339(session.finished_at),
        "expires_at": rfc3339(session.expires_at),
        "steps": _steps(session),
        "refused": [each.model_dump() for each in progress_of(session).refused],
        "frames": session.frames,
        "most_frames": session.most_frames,
        "metadata": dict(session.metadata),
        "webhook": None if session.webhook is None else webhook_content(session.webhook),
        "urls": {"self": path, "frames": f"{path}/frames", "cancel": f"{path}/cancel"},
    }


def _steps(session: Session) -> list[dict[str, Any]]:
    done = progress_of(session).done
    running = session.status is SessionStatus.RUNNING
    steps: list[dict[str, Any]] = [
        {
            "step": step.step.value,
            "status": "passed",
            "passed_at": rfc3339(step.at),
            "sequence": step.sequence,
            "evidence": [each.model_dump() for each in step.evidence],
        }
        for step in done
    ]
    for index, kind in enumerate(session.steps[len(done) :]):
        status = ("waiting" if index else "asked") if running else "missed"
        steps.append({"step": kind.value, "status": status, "passed_at": None, "sequence": None, "evidence": []})
    return steps


def client_content(session: Session) -> dict[str, Any]:
    """The JSON content of a `ClientSession`."""
    progress = progress_of(session)
    number, running = len(progress.done), session.status is SessionStatus.RUNNING
    step = session.steps[number].value if running else None
    return {
        "id": session.id,
        "status": session.status.value,
        "reason": session.reason and session.reason.value,
        "step": step,
        "look_straight_first": running and step != Step.LOOK_STRAIGHT and not memory_of(session).armed,
        "number": number,
        "of": len(session.steps),
        "hint": progress.hint and progress.hint.value,
        "ends_at": rfc3339(session.ends_at),
        "step_ends_at": rfc3339(session.step_ends_at),
        "frames": session.frames,
    }
