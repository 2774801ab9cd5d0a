"""What a picture must be like for a registration: profiles of limits, and single limits in their place."""

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

    def effective(self, *, register_score: float) -> QualityLimits:
        """The limits that hold, `register_score` being the pack's; what is null then is not checked."""
        own = PROFILES[self.profile]
        if self.profile != "off":
            own = QualityLimits(min_detection_score=min(1.0, register_score + MARGIN[self.profile])).over(own)
        return self.limits.over(own)


MARGIN: Final[dict[Profile, float]] = {"standard": 0.0, "strict": 0.05}
"""What a profile asks of the detection score above the pack's own limit."""
PROFILES: Final[dict[Profile, QualityLimits]] = {
    "off": QualityLimits(),
    "standard": QualityLimits(
        min_face_width_px=60,
        min_face_share=0.01,
        min_inside=0.95,
        min_sharpness=60,
        min_brightness=50,
        max_brightness=215,
        min_contrast=20,
        max_yaw=35,
        max_pitch=30,
        max_roll=30,
    ),
    "strict": QualityLimits(
        min_face_width_px=100,
        min_face_share=0.03,
        min_inside=0.99,
        min_sharpness=100,
        min_brightness=70,
        max_brightness=200,
        min_contrast=30,
        max_yaw=20,
        max_pitch=20,
        max_roll=15,
        min_eyes_open=0.5,
    ),
}
"""Measured on labelled pictures; docs/models.md says where each number comes from."""


def _given(limits: QualityLimits) -> dict[str, float]:
    return limits.model_dump(exclude_none=True)
