"""Verifications with real models: spoofs of the right person, and pictures that prove nothing."""

import base64
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from shared.operations import Operation, parse_params
from shared.results import VerifyResult
from tests.photos import ASTRONAUT, LABELLED, SIX_FACES, labelled
from tools.setup import models_dir
from tools.stack import Stack
from worker import operations
from worker.engine.base import Image
from worker.engine.devices import Device
from worker.engine.insight import InsightEngine
from worker.images import decode

SAMPLES = "minivision-ai+Silent-Face-Anti-Spoofing/images/sample"
LIVE, SCREEN = f"{SAMPLES}/image_T1.jpg", f"{SAMPLES}/image_F2.jpg"
"""The same person in front of the camera, and on a screen."""
CASES = LABELLED.parent / "cases"


@pytest.fixture(scope="module")
def engine() -> InsightEngine:
    return InsightEngine(models_dir(), pack="compact", device=Device())


def verified(engine: InsightEngine, image: bytes, reference: bytes, **params: Any) -> VerifyResult:
    one, two = (decode(data, max_pixels=40_000_000, min_long_side=None) for data in (image, reference))
    work = operations.Work(engine=engine, clock=lambda _: nullcontext(), image=one, reference=two)
    result = operations.run(Operation.VERIFY, parse_params(Operation.VERIFY, params), work)
    assert isinstance(result, VerifyResult)
    return result


@pytest.mark.parametrize("reference", [LIVE, SCREEN])
def test_a_screen_of_the_person_matches_unless_liveness_is_required(engine: InsightEngine, reference: str) -> None:
    screen, other = labelled(SCREEN).read_bytes(), labelled(reference).read_bytes()
    observed = verified(engine, screen, other, liveness="observe")
    assert (observed.decision, observed.liveness.outcome) == ("match", "spoof")
    required = verified(engine, screen, other, liveness="require")
    assert (required.decision, required.verified, required.reasons) == ("no_match", False, ["spoof"])
    assert required.advice == "Use a live camera, not a picture of a picture."


def test_a_live_person_matches_a_reference_on_a_screen(engine: InsightEngine) -> None:
    live, screen = labelled(LIVE).read_bytes(), labelled(SCREEN).read_bytes()
    result = verified(engine, live, screen, liveness="require")
    assert (result.decision, result.liveness.outcome) == ("match", "live")


def darkened(image: Image) -> Image:
    return np.asarray(np.rint(image * 0.05), np.uint8)


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 7), np.uint8)


@pytest.mark.parametrize("damage", [darkened, blurred])
@pytest.mark.parametrize("side", ["image", "reference"])
def test_a_damaged_picture_is_inconclusive_on_either_side(
    engine: InsightEngine, damage: Callable[[Image], Image], side: str
) -> None:
    whole = ASTRONAUT.read_bytes()
    pixels = np.asarray(cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    poor = cv2.imencode(".png", damage(pixels))[1].tobytes()
    result = verified(engine, poor, whole) if side == "image" else verified(engine, whole, poor)
    reason = "unrecognisable" if side == "image" else "reference_unrecognisable"
    assert (result.decision, result.verified, result.reasons) == ("inconclusive", False, [reason])
    assert (result.estimated_fmr, result.fmr_bounds) == (None, None)
    assert result.advice


def strangers(case: str) -> tuple[bytes, bytes]:
    """Two different people in equally bad pictures."""
    pictures = sorted((CASES / case).glob("*.jpg"))
    if not pictures:
        pytest.skip(f"the pictures of strangers are not at {CASES}")
    one, two = pictures
    return one.read_bytes(), two.read_bytes()


@pytest.mark.parametrize("case", ["01-upside-down-different-people", "02-dark-different-people"])
def test_strangers_in_unrecognizable_pictures_are_inconclusive(engine: InsightEngine, case: str) -> None:
    result = verified(engine, *strangers(case), auto_orient=False)
    assert (result.decision, result.verified) == ("inconclusive", False)
    assert result.reasons == ["unrecognisable", "reference_unrecognisable"]
    assert result.similarity is not None
    assert result.similarity > result.threshold, "without the decision they would match"
    assert result.estimated_fmr is None


def test_strangers_upside_down_are_turned_and_distinguished(engine: InsightEngine) -> None:
    result = verified(engine, *strangers("01-upside-down-different-people"))
    assert (result.decision, result.orientation, result.reference_orientation) == ("no_match", 180, 180)


def submitted(stack: Stack, reference: dict[str, Any], **params: Any) -> dict[str, Any]:
    """The result of a job that compares the astronaut with this reference."""
    image = {"base64": base64.b64encode(ASTRONAUT.read_bytes()).decode()}
    job = {"operation": "verify", "image": image, "reference": reference, "params": params}
    answer = requests.post(f"{stack.url}/v1/jobs", json=job, headers={"Prefer": "wait=30"}, timeout=40)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["result"])


def test_a_returned_embedding_is_accepted_and_liveness_read_in_one_job(stack: Stack) -> None:
    with ASTRONAUT.open("rb") as image:
        answer = requests.post(
            f"{stack.url}/v1/jobs",
            data={"operation": "embed"},
            files={"image": image},
            headers={"Prefer": "wait=30"},
            timeout=40,
        )
    embedding = answer.json()["result"]["faces"][0]["embedding"]
    assert {"vector", "length", "contract", "recognisability"} <= embedding.keys()
    result = submitted(stack, {"embedding": embedding}, liveness="require")
    assert (result["decision"], result["verified"], result["reasons"], result["advice"]) == ("match", True, [], None)
    assert result["liveness"]["outcome"] == "live"
    general = result["fmr_bounds"]["populations"][0]
    assert (general["population"], general["fmr"]) == ("general", result["estimated_fmr"])


def test_a_different_person_is_no_match(stack: Stack) -> None:
    reference = {"base64": base64.b64encode(SIX_FACES.read_bytes()).decode()}
    result = submitted(stack, reference, select="largest")
    assert (result["decision"], result["verified"], result["reason"]) == ("no_match", False, "below_threshold")
