"""What a liveness session asks for, has shown and remembers: the challenge, and the state that frames move on."""

from enum import StrEnum
from random import Random

from pydantic import Field

from api.liveness.movements import Anchor, Evidence
from api.liveness.replay_detection import Mark
from shared.faces import Strict
from shared.liveness_sessions import TURNS, Reason, Session, Step


class Hint(StrEnum):
    """What the person at the camera should know of the last frame; the page has the words."""

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
    """A step that was shown, and by what."""

    step: Step
    at: float
    sequence: int
    evidence: tuple[Evidence, ...]


class Progress(Strict):
    """What a session has shown; kept with its result."""

    done: tuple[Done, ...] = ()
    hint: Hint | None = None
    refused: tuple[Evidence, ...] = ()
    """The numbers of the frame that ended it, where some did."""


class Memory(Strict):
    """What a session remembers of faces; erased with its end."""

    reference: list[float] | None = None
    contract: str | None = None
    """Embedding contract of the reference, or of the first frame with a face; nothing else is compared with it."""
    anchor: Anchor | None = None
    marks: tuple[Mark, ...] = ()
    still: int = 0
    digests: tuple[str, ...] = ()
    sequence: int = -1
    taken_at: float = -1.0
    clocks: float | None = None
    """Our clock less the client's, at the first frame."""
    armed: bool = False
    """Whether the face has looked straight since the step began: a movement counts from there."""
    shut: bool = False
    """Whether the eyes have been open, then shut, since the step began."""
    opened: bool = False
    strikes: dict[Reason, int] = Field(default_factory=dict)
    face_seen: float | None = None


def progress_of(session: Session) -> Progress:
    """What the session has shown so far."""
    return Progress.model_validate_json(session.progress) if session.progress else Progress()


def memory_of(session: Session) -> Memory:
    """What the session remembers."""
    return Memory.model_validate_json(session.memory) if session.memory else Memory()


def is_repeat(session: Session, *, digest: str, sequence: int) -> bool:
    """Whether this is the last frame again, sent twice by a client that did not hear the answer."""
    if session.frame is not None:
        return (session.frame.digest, session.frame.sequence) == (digest, sequence)
    memory = memory_of(session)
    return memory.sequence == sequence and memory.digests[-1:] == (digest,)


def refusal(session: Session, *, digest: str, sequence: int, taken_at: float) -> Reason | None:
    """Why a frame ends the session before it is analysed, or None: it was sent before, or the order is wrong."""
    memory = memory_of(session)
    if (
        digest in memory.digests[:-1] and digest != memory.digests[-1]
    ):  # the last one again is a picture that stands still
        return Reason.REPLAYED_FRAME
    if sequence <= memory.sequence or taken_at <= memory.taken_at:
        return Reason.OUT_OF_ORDER
    return None


def drawn(kinds: tuple[Step, ...], number: int, *, dice: Random) -> tuple[Step, ...]:
    """A random challenge: a look straight, movements of which at least one is a turn, and a look straight.

    No movement comes twice in a row.

    Args:
        kinds: movements to draw from; at least one turn, and a second kind where there is to be more than one movement.
        number: how many movements.
        dice: what draws.
    """
    movements: list[Step] = []
    for _ in range(number):
        movements.append(dice.choice([kind for kind in kinds if movements[-1:] != [kind]]))
    if not any(movement in TURNS for movement in movements):
        # Its neighbours are no turns: nothing comes twice in a row.
        movements[dice.randrange(number)] = dice.choice([kind for kind in kinds if kind in TURNS])
    return Step.LOOK_STRAIGHT, *movements, Step.LOOK_STRAIGHT
