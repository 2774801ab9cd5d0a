"""Quality limits for registrations: profiles, and single limits that override them."""

from typing import Annotated, Final, Literal

from pydantic import Field

from shared.submitted import Submitted

Profile = Literal["off", "standard", "strict"]
_Share = Annotated[float, Field(ge=0, le=1)]
_Grey = Annotated[float, Field(ge=0, le=255)]
_Degrees = Annotated[float, Field(ge=0, le=90)]


class QualityLimits(Submitted):
    """Single limits. What is null is the profile's; a limit at its loosest never fails."""

    min_detection_score: _Share | None = Field(default=None, description="Detection score.")
    min_face_width_px: float | None = Field(
        default=None, ge=0, le=65_535, description="Width of the face's box in pixels of the full upright image."
    )
    min_face_share: _Share | None = Field(default=None, description="Area of the box as a share of the image's.")
    min_inside: _Share | None = Field(default=None, description="Share of the box that lies inside the image.")
    min_sharpness: float | None = Field(
        default=None, ge=0, le=100_000, description="Variance of the Laplacian of the grey face at 128x128."
    )
    min_brightness: _Grey | None = Field(default=None, description="Mean grey of the face.")
    max_brightness: _Grey | None = Field(default=None, description="Mean grey of the face.")
    min_contrast: _Grey | None = Field(default=None, description="Standard deviation of the grey face.")
    max_yaw: _Degrees | None = Field(default=None, description="Degrees to either side.")
    max_pitch: _Degrees | None = Field(default=None, description="Degrees up or down from what a frontal head reads.")
    max_roll: _Degrees | None = Field(default=None, description="Degrees of leaning to either side.")
    min_eyes_open: _Share | None = Field(
        default=None, description="Chance that the more open eye is open; needs a pack that reads eyes."
    )
    min_embedding_length: float | None = Field(
        default=None, ge=0, le=100, description="Length of the raw embedding; its scale is the pack's."
    )

    def over(self, others: "QualityLimits") -> "QualityLimits":
        """These limits, and the others' where these are null."""
        return QualityLimits(**{**_given(others), **_given(self)})


class QualityPolicy(Submitted):
    """A profile and the limits in place of its own: what a caller is held to where a request says nothing."""

    profile: Profile = "standard"
    limits: QualityLimits = QualityLimits()

    def asked(self, profile: Profile | None, limits: QualityLimits) -> "QualityPolicy":
        """What a request makes of this policy: another profile replaces all of it, single limits go before its own."""
        if profile is not None:
            return QualityPolicy(profile=profile, limits=limits)
        return QualityPolicy(profile=self.profile, limits=limits.over(self.limits))

    def effective(self, *, register_score: float, register_length: float | None = None) -> QualityLimits:
        """The limits that apply. A limit that is null is not checked.

        `register_score` and `register_length` are the pack's: least detection score, and least length of the raw
        embedding where it was measured for the pack.
        """
        own = PROFILES[self.profile]
        if self.profile != "off":
            score = min(1.0, register_score + SCORE_MARGIN[self.profile])
            length = None if register_length is None else register_length * LENGTH_FACTOR[self.profile]
            own = QualityLimits(min_detection_score=score, min_embedding_length=length).over(own)
        return self.limits.over(own)


SCORE_MARGIN: Final[dict[Profile, float]] = {"standard": 0.0, "strict": 0.05}
"""Added to the pack's least detection score."""
LENGTH_FACTOR: Final[dict[Profile, float]] = {"standard": 1.0, "strict": 1.1}
"""Multiplies the pack's least embedding length: its scale differs from pack to pack."""
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
"""Set by what each limit does to matching; docs/models.md has the measurements."""


def _given(limits: QualityLimits) -> dict[str, float]:
    return limits.model_dump(exclude_none=True)
