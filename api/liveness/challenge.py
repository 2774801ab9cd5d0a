"""The challenge of a liveness session, and the state that its frames update."""

from enum import StrEnum
from random import Random

from pydantic import Field

from api.liveness.movements import Anchor, Evidence
from api.liveness.replay_detection import Mark
from shared.faces import Strict
from shared.liveness_sessions import TURNS, Reason, Session, Step


class Hint(StrEnum):
    """Feedback on the last frame for the person at the camera. The client supplies the wording."""

    WELL_DONE = "well_done"
    GO_ON = "go_on"
    LOOK_STRAIGHT = "look_straight"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    TOO_FAR = "too_far"
    TOO_CLOSE = "too_close"
    BETTER_LIGHT = "better_light"
    NOT_READABLE = "not_readable"
    NOT_RECOGNISABLE = "not_recognisable"


class Done(Strict):
    """A completed step with its evidence."""

    step: Step
    at: float
    sequence: int
    evidence: tuple[Evidence, ...]


class Progress(Strict):
    """Completed steps and feedback of a session. Kept with its result."""

    done: tuple[Done, ...] = ()
    hint: Hint | None = None
    refused: tuple[Evidence, ...] = ()
    """The failed measurements of the frame that ended the session, if any."""


class Memory(Strict):
    """Biometric data that a session needs while it runs. Erased when it ends."""

    reference: list[float] | None = None
    contract: str | None = None
    """Embedding contract of the reference, or else of the first face. No other contract is compared with it."""
    anchor: Anchor | None = None
    marks: tuple[Mark, ...] = ()
    still: int = 0
    digests: tuple[str, ...] = ()
    sequence: int = -1
    taken_at: float = -1.0
    clocks: float | None = None
    """Difference between our clock and the client's at the first frame, in seconds."""
    armed: bool = False
    """Whether the face has looked straight since the step began. Only then does a movement count."""
    shut: bool = False
    """Whether the eyes have been open and then shut since the step began."""
    opened: bool = False
    strikes: dict[Reason, int] = Field(default_factory=dict)
    face_seen: float | None = None


def progress_of(session: Session) -> Progress:
    """Parse the progress of a session."""
    return Progress.model_validate_json(session.progress) if session.progress else Progress()


def memory_of(session: Session) -> Memory:
    """Parse the memory of a session."""
    return Memory.model_validate_json(session.memory) if session.memory else Memory()


def is_repeat(session: Session, *, digest: str, sequence: int) -> bool:
    """Whether this is the last frame again, resent by a client that missed the response."""
    if session.frame is not None:
        return (session.frame.digest, session.frame.sequence) == (digest, sequence)
    memory = memory_of(session)
    return memory.sequence == sequence and memory.digests[-1:] == (digest,)


def refusal(session: Session, *, digest: str, sequence: int, taken_at: float) -> Reason | None:
    """Why a frame ends the session before analysis: it is a replay or out of order. None if it is acceptable."""
    memory = memory_of(session)
    # A repeat of the last frame is not a replay: the analysis detects a still picture.
    if digest in memory.digests[:-1] and digest != memory.digests[-1]:
        return Reason.REPLAYED_FRAME
    if sequence <= memory.sequence or taken_at <= memory.taken_at:
        return Reason.OUT_OF_ORDER
    return None


def draw_challenge(kinds: tuple[Step, ...], number: int, *, rng: Random) -> tuple[Step, ...]:
    """Draw a random challenge: look straight, movements of which at least one is a turn, look straight again.

    No movement occurs twice in a row.

    Args:
        kinds: movements to draw from; at least one turn, and a second kind if `number` is greater than 1.
        number: number of movements.
        rng: source of randomness.
    """
    movements: list[Step] = []
    for _ in range(number):
        movements.append(rng.choice([kind for kind in kinds if movements[-1:] != [kind]]))
    if not any(movement in TURNS for movement in movements):
        # The neighbors of the new turn are not turns, so nothing occurs twice in a row.
        movements[rng.randrange(number)] = rng.choice([kind for kind in kinds if kind in TURNS])
    return Step.LOOK_STRAIGHT, *movements, Step.LOOK_STRAIGHT
