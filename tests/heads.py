"""Simulates heads, and pictures of heads, in front of a camera, as a worker would describe them."""

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.faces import Embedding, Eyes, Face, FaceAttributes, Liveness, Point, Pose, Recognisability
from shared.results import FrameResult, ImageInfo

WIDTH, HEIGHT = 640, 480
FOCAL = 600.0
CONTRACT = "contract-a"

_SPOTS = ((-0.5, -0.5, 0.0), (0.5, -0.5, 0.0), (0.0, 0.05, 0.5), (-0.4, 0.55, 0.05), (0.4, 0.55, 0.05))
"""Eyes, nose and mouth corners in units of the distance between the eyes; x to the picture's right, y down, z towards
the camera. The nose protrudes by half that distance, as in anthropometric tables (30 to 35 mm of 63)."""


@dataclass(frozen=True)
class Head:
    """A head, or a picture of one, in front of the camera. Angles in degrees as in `shared.faces.Pose`."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    across: float = 0.0
    down: float = 0.0
    distance: float = 8.0
    person: int = 0
    depth: float = 1.0
    """1 is a head, 0 a picture of one."""
    looks: float | None = None
    """Yaw reported by the pack's model; None for the head's own yaw. A picture of a turned head is reported as turned.
    """
    eyes: float = 1.0
    live: float = 0.95
    noise: float = 0.3
    """Standard deviation of each point, in pixels."""
    seed: int = 0

    def posed(self, **changed: float) -> "Head":
        """Return the same head with changes, captured again with new sensor noise."""
        return replace(self, seed=self.seed + 1, **changed)  # type: ignore[arg-type]


def points(head: Head) -> list[Point]:
    """The five points in the picture, by a pinhole camera."""
    dice = random.Random(f"{head.seed} {head}")  # noqa: S311 - noise of a camera
    return [
        (x + dice.gauss(0.0, head.noise), y + dice.gauss(0.0, head.noise))
        for x, y in (_projected(head, spot) for spot in _SPOTS)
    ]


def _projected(head: Head, spot: tuple[float, float, float]) -> Point:
    yaw, pitch, roll = (math.radians(angle) for angle in (head.yaw, head.pitch, head.roll))
    x, y, z = spot[0], spot[1], spot[2] * head.depth
    x, z = x * math.cos(yaw) + z * math.sin(yaw), z * math.cos(yaw) - x * math.sin(yaw)
    y, z = y * math.cos(pitch) - z * math.sin(pitch), z * math.cos(pitch) + y * math.sin(pitch)
    x, y = x * math.cos(roll) - y * math.sin(roll), y * math.cos(roll) + x * math.sin(roll)
    far = head.distance - z
    return WIDTH / 2 + FOCAL * (x + head.across) / far, HEIGHT / 2 + FOCAL * (y + head.down) / far


def vector(person: int, seed: int) -> list[float]:
    """A unit vector: similarity about 0.8 for one person, about 0 for two."""
    who, when = (random.Random(seed) for seed in (f"person {person}", f"{person} {seed}"))  # noqa: S311 - faces
    raw = [who.gauss(0, 1) + 0.5 * when.gauss(0, 1) for _ in range(64)]
    length = math.hypot(*raw)
    return [value / length for value in raw]


def result(
    head: Head | None,
    *,
    faces: int = 1,
    posed: bool = True,
    picture: str | None = None,
    contract: str = CONTRACT,
    recognisability: Recognisability | None = None,
) -> FrameResult:
    """Build the result of a worker for a picture with this head.

    Args:
        head: the head in the picture; None for no head.
        faces: the number of faces.
        posed: whether the pack has models of pose and eyes.
        picture: fingerprint of the picture; None for a different one per head.
        contract: the contract of the embedding.
        recognisability: the verdict on the embedding; None as from a worker of an older version.
    """
    mark = picture or hashlib.sha256(repr(head).encode()).hexdigest()
    image = ImageInfo(width=WIDTH, height=HEIGHT)
    if head is None or faces != 1:
        reason = "multiple_faces" if faces > 1 else "no_face"
        return FrameResult(
            image=image,
            reason=reason,
            num_faces=faces if head else 0,
            picture=mark,
            match_threshold=0.35,
        )
    where = points(head)
    return FrameResult(
        image=image,
        reason=None,
        num_faces=1,
        face=Face(
            box=_box(where),
            landmarks=where,
            score=0.9,
            liveness=_liveness(head.live),
            embedding=Embedding(
                vector=vector(head.person, head.seed),
                length=20.0 + head.seed % 7 / 10,
                contract=contract,
                recognisability=recognisability,
            ),
            attributes=_attributes(head) if posed else None,
        ),
        picture=mark,
        match_threshold=0.35,
    )


def _liveness(score: float) -> Liveness:
    outcome = "live" if score >= 0.5 else "spoof" if score < 0.3 else "uncertain"
    return Liveness(outcome=outcome, score=score, threshold=0.5, model="drawn")


def _attributes(head: Head) -> FaceAttributes:
    yaw = head.yaw if head.looks is None else head.looks
    pose = Pose(pitch=head.pitch, yaw=yaw, roll=head.roll, method="model", error=6.0)
    return FaceAttributes(pose=pose, eyes=Eyes(left=head.eyes, right=head.eyes))


def _box(where: Sequence[Point]) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in where], [y for _, y in where]
    side = 0.9 * max(max(xs) - min(xs), max(ys) - min(ys))
    x, y = sum(xs) / 5, sum(ys) / 5
    return x - side, y - side, x + side, y + side
