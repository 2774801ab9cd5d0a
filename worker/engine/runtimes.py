"""Measure whether OpenVINO runs the models of a pack faster than onnxruntime on this processor, with equal outputs."""

import statistics
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from shared.errors import SettingsError
from worker.engine.blobs import Blob
from worker.engine.devices import OPENVINO, Device
from worker.engine.session import Session
from worker.engine.sessions import open_session
from worker.packs import proof
from worker.packs.manifests import Manifest, PackFile, Role
from worker.packs.prepare import prepared
from worker.packs.runtimes import Comparison, processor, versions

ROLES: Final[Sequence[Role]] = ("detection", "recognition")
"""They take nearly all of a job's time, and everything that is compared comes from them."""
ROUNDS: Final = 7
SIDE: Final = 640
"""Height and width for a model that accepts any."""


def compared(folder: Path, manifest: Manifest) -> Comparison | None:
    """Compare both runtimes on one thread, in turns, with detection and recognition of the prepared pack.

    Returns:
        None if OpenVINO is not installed.
    """
    if find_spec("openvino") is None:
        return None
    onnxruntime_times, openvino_times, different = 0.0, 0.0, None
    for file in (file for role in ROLES if (file := manifest.file(role)) is not None):
        try:
            sessions = [_open(folder, file, device) for device in (Device(), Device(provider=OPENVINO))]
            blobs = _blobs(sessions[0], file)
            different = different or _difference(sessions, blobs, file)
        except SettingsError as error:
            return Comparison(processor=processor(), versions=versions(), speedup=1.0, different=str(error))
        times = _times(sessions, blobs[0])
        onnxruntime_times += times[0]
        openvino_times += times[1]
    return Comparison(
        processor=processor(),
        versions=versions(),
        speedup=round(onnxruntime_times / openvino_times, 3),
        different=different,
    )


def _open(folder: Path, file: PackFile, device: Device) -> Session:
    return open_session(prepared(folder, file, provider=device.provider), device)


def _blobs(session: Session, file: PackFile) -> list[Blob]:
    """Return the pictures with which prepared graphs are proved, one per blob."""
    if file.preprocessing is None:
        msg = f"{file.name} has no preprocessing"
        raise SettingsError(msg)
    height, width = (side or SIDE for side in session.input_shape[2:])
    return [picture[None] for picture in proof.pictures(height, width, proof.RANGE[file.preprocessing])]


def _difference(sessions: Sequence[Session], blobs: Sequence[Blob], file: PackFile) -> str | None:
    """Return where the outputs for one picture differ by more than a prepared graph may; None if nowhere."""
    for blob in blobs:
        first, second = (session.run(blob) for session in sessions)
        try:
            proof.compare(second, [first])
        except proof.RejectedError as error:
            return f"{file.name}: {error}"
    return None


def _times(sessions: Sequence[Session], blob: Blob) -> list[float]:
    """Return the median processor time of a run of each session, in seconds."""
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(ROUNDS):
        for session, own in zip(sessions, times, strict=True):
            begin = time.process_time()
            session.run(blob)
            own.append(time.process_time() - begin)
    return [statistics.median(own) for own in times]
