"""Quality limits for registrations: profiles, and individual limits that override them."""

from typing import Annotated, Final, Literal

from pydantic import Field

from shared.submitted import Submitted

Profile = Literal["off", "standard", "strict"]
_Share = Annotated[float, Field(ge=0, le=1)]
_Grey = Annotated[float, Field(ge=0, le=255)]
_Degrees = Annotated[float, Field(ge=0, le=90)]


class QualityLimits(Submitted):
    """Individual limits. A null limit is taken from the profile; a limit at its loosest never fails."""

    min_detection_score: _Share | None = Field(default=None, description="Minimum detection score.")
    min_face_width_px: float | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Minimum width of the face's box, in pixels of the full upright image.",
    )
    min_face_share: _Share | None = Field(
        default=None, description="Minimum area of the box as a share of the image area."
    )
    min_inside: _Share | None = Field(default=None, description="Minimum share of the box that lies inside the image.")
    min_sharpness: float | None = Field(
        default=None, ge=0, le=100_000, description="Minimum variance of the Laplacian of the gray face at 128x128."
    )
    min_brightness: _Grey | None = Field(default=None, description="Minimum mean gray value of the face.")
    max_brightness: _Grey | None = Field(default=None, description="Maximum mean gray value of the face.")
    min_contrast: _Grey | None = Field(default=None, description="Minimum standard deviation of the gray face.")
    max_yaw: _Degrees | None = Field(default=None, description="Maximum yaw to either side, in degrees.")
    max_pitch: _Degrees | None = Field(
        default=None, description="Maximum pitch up or down from that of a frontal head, in degrees."
    )
    max_roll: _Degrees | None = Field(default=None, description="Maximum roll to either side, in degrees.")
    min_eyes_open: _Share | None = Field(
        default=None,
        description="Minimum probability that the more open eye is open. Requires a pack that supports `eyes`.",
    )
    min_embedding_length: float | None = Field(
        default=None, ge=0, le=100, description="Minimum length of the raw embedding. The scale depends on the pack."
    )

    def over(self, others: "QualityLimits") -> "QualityLimits":
        """Return these limits, with null ones taken from `others`."""
        return QualityLimits(**{**_given(others), **_given(self)})


class QualityPolicy(Submitted):
    """A profile and limits that override its own: the caller's defaults for requests that set none."""

    profile: Profile = "standard"
    limits: QualityLimits = QualityLimits()

    def for_request(self, profile: Profile | None, limits: QualityLimits) -> "QualityPolicy":
        """Apply a request to this policy: a profile replaces all of it, individual limits override its own."""
        if profile is not None:
            return QualityPolicy(profile=profile, limits=limits)
        return QualityPolicy(profile=self.profile, limits=limits.over(self.limits))

    def effective(self, *, register_score: float, register_length: float | None = None) -> QualityLimits:
        """Return the limits that apply. A null limit is not checked.

        `register_score` and `register_length` are the pack's minimum detection score and minimum length of the raw
        embedding, if measured for the pack.
        """
        own = PROFILES[self.profile]
        if self.profile != "off":
            score = min(1.0, register_score + SCORE_MARGIN[self.profile])
            length = None if register_length is None else register_length * LENGTH_FACTOR[self.profile]
            own = QualityLimits(min_detection_score=score, min_embedding_length=length).over(own)
        return self.limits.over(own)


SCORE_MARGIN: Final[dict[Profile, float]] = {"standard": 0.0, "strict": 0.05}
"""Added to the pack's minimum detection score."""
LENGTH_FACTOR: Final[dict[Profile, float]] = {"standard": 1.0, "strict": 1.1}
"""Factor on the pack's minimum embedding length, whose scale differs between packs."""
PROFILES: Final[dict[Profile, QualityLimits]] = {
    "off": QualityLimits(),
    "standard": QualityLimits(
        min_face_width_px=48,
        min_face_share=0.01,
        min_inside=0.95,
        min_sharpness=8,
        min_brightness=40,
        max_brightness=215,
        min_contrast=15,
        max_yaw=40,
        max_pitch=30,
        max_roll=30,
    ),
    "strict": QualityLimits(
        min_face_width_px=80,
        min_face_share=0.03,
        min_inside=0.99,
        min_sharpness=20,
        min_brightness=70,
        max_brightness=200,
        min_contrast=30,
        max_yaw=20,
        max_pitch=20,
        max_roll=15,
        min_eyes_open=0.5,
    ),
}
"""Chosen by the effect of each limit on matching; docs/models.md has the measurements."""


def _given(limits: QualityLimits) -> dict[str, float]:
    return limits.model_dump(exclude_none=True)
