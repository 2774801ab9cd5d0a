"""Liveness sessions on the wire: what is asked for, and what is answered to the server and to the client."""

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
    """Whom the person must be: exactly one of an image file and an embedding."""

    base64: str | None = Field(default=None, description="An image file, base64; one face. It is not kept.")
    embedding: ReferenceVector | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.base64 is None) == (self.embedding is None):
            msg = "give exactly one of base64 and embedding"
            raise ValueError(msg)
        return self


class SessionRequest(Submitted):
    """A session that is to be opened; everything may be left out."""

    movements: int = Field(default=3, ge=1, le=6, description="How many movements are asked for.")
    kinds: tuple[Movement, ...] = Field(
        default=USUAL,
        min_length=1,
        max_length=5,
        description="Movements to draw from; at least one turn among them, and at least two kinds where `movements` is "
        "more than 1. `blink` needs a model pack that reads eyes.",
    )
    seconds: int = Field(default=120, ge=10, le=600, description="How long the session lasts, from now on.")
    step_seconds: int = Field(default=20, ge=3, le=120, description="How long each step may take.")
    reference: SessionReference | None = Field(default=None, description="Whom the person must be.")
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description=f"Yours; given back with the session. At most {MAX_METADATA_BYTES} bytes as JSON.",
    )
    webhook: WebhookSpec | None = Field(
        default=None, description="Who is told of the end, beside the registered endpoints."
    )

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        if not set(self.kinds) & set(TURNS):
            msg = "kinds needs turn_left or turn_right: only a turn shows that a face is not flat"
            raise ValueError(msg)
        if self.movements > 1 and len(set(self.kinds)) == 1:
            msg = "kinds needs a second movement: none comes twice in a row"
            raise ValueError(msg)
        return self


class FrameForm(FormSchema):
    """The form of a liveness session's frame."""

    image: File
    sequence: int = Field(ge=0, description="Number of the picture; each greater than the one before.")
    taken_at: float = Field(
        ge=0,
        description="When it was taken: milliseconds of a clock of the client's that only goes forward, such as "
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
"""The models that only hand-written parts of the OpenAPI document refer to."""


class SessionStep(BaseModel):
    """One step of the challenge."""

    step: Step
    status: Literal["passed", "asked", "waiting", "missed"] = Field(
        description="`asked` is the one in hand; `missed` are those that a session ended before."
    )
    passed_at: Time | None
    sequence: int | None = Field(description="Number of the frame that showed it.")
    evidence: list[Evidence] = Field(description="What that frame showed, with the limits.")


class SessionUrls(BaseModel):
    """Where to go from here."""

    self: str
    frames: str
    cancel: str


class SessionBody(BaseModel):
    """A liveness session, for the server that opened it."""

    id: str = Field(examples=[SESSION_ID])
    status: SessionStatus
    reason: Reason | None = Field(description="Why it did not pass.")
    created_at: Time
    ends_at: Time = Field(description="When a session that still runs expires.")
    step_ends_at: Time | None = Field(description="When the step in hand is over; null before the first frame.")
    finished_at: Time | None
    expires_at: Time | None = Field(description="When the ended session can no longer be read.")
    steps: list[SessionStep]
    refused: list[Evidence] = Field(description="The numbers of the frame that ended it, where some did.")
    frames: int = Field(ge=0, description="Frames taken so far.")
    most_frames: int
    metadata: dict[str, Any]
    webhook: JobWebhook | None
    urls: SessionUrls


class OpenedSession(SessionBody):
    """A session that was opened just now."""

    client_token: str = Field(description="For the client at the camera; shown only here.")
    client_token_expires_at: Time


class ClientSession(BaseModel):
    """A liveness session, for the client at the camera: one step at a time, and no numbers."""

    id: str = Field(examples=[SESSION_ID])
    status: SessionStatus
    reason: Reason | None
    step: Step | None = Field(description="What to do now; null once it has ended.")
    look_straight_first: bool = Field(description="The movement counts only from a face that looks straight.")
    number: int = Field(ge=0, description="Steps that were shown.")
    of: int = Field(description="Steps in all.")
    hint: Hint | None = Field(description="What the last frame lacked.")
    ends_at: Time
    step_ends_at: Time | None
    frames: int = Field(ge=0, description="Frames taken so far.")


def session_path(session_id: str) -> str:
    """Where a session is read."""
    return f"/v1/liveness-sessions/{session_id}"


def session_content(session: Session) -> dict[str, Any]:
    """The session as SessionBody describes it."""
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
    shown: list[dict[str, Any]] = [
        {
            "step": one.step.value,
            "status": "passed",
            "passed_at": rfc3339(one.at),
            "sequence": one.sequence,
            "evidence": [each.model_dump() for each in one.evidence],
        }
        for one in done
    ]
    for place, step in enumerate(session.steps[len(done) :]):
        status = ("waiting" if place else "asked") if running else "missed"
        shown.append({"step": step.value, "status": status, "passed_at": None, "sequence": None, "evidence": []})
    return shown


def client_content(session: Session) -> dict[str, Any]:
    """The session as ClientSession describes it."""
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
