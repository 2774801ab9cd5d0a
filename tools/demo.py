"""`make demo`: one real photo through the real gateway, queue and worker, shown step by step; then all is stopped."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2
import requests

from tools.setup import ROOT
from tools.stack import Stack, StackError, free_port
from worker.images import decode

OUT: Final = ROOT / ".data" / "demo"
START_WITHIN: Final = 60.0
JOB_WITHIN: Final = 60.0
GREEN: Final = (80, 200, 60)
RED: Final = (60, 60, 230)
GREY: Final = (160, 160, 160)
COLOURS: Final = {"live": GREEN, "spoof": RED}


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


def photo() -> Path:
    """The photo to show: `IMAGE`, or the group picture that the insightface package ships.

    Raises:
        DemoError: there is no such file.
    """
    asked = os.environ.get("IMAGE")
    if asked:
        path = Path(asked).expanduser()
        if not path.is_file():
            msg = f"IMAGE={asked}: there is no such file"
            raise DemoError(msg)
        return path
    package = find_spec("insightface")
    if package is None or not package.submodule_search_locations:
        msg = "the insightface package is missing; run: make setup"
        raise DemoError(msg)
    return Path(next(iter(package.submodule_search_locations))) / "data" / "images" / "t1.jpg"


@contextmanager
def step(name: str) -> Iterator[list[str]]:
    """Print a step with what came of it and how long it took."""
    begin, said = time.monotonic(), [""]
    if sys.stdout.isatty():
        print(f"  {name:<14} ...", end="", flush=True)
    yield said
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    print(f"  {name:<14} {said[0]:<52} {time.monotonic() - begin:6.2f} s", flush=True)


def main() -> int:
    """Run the demo; 0 where a face picture was analysed and written."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    log: list[str] = []
    begin = time.monotonic()
    try:
        source = photo()
        with tempfile.TemporaryDirectory(prefix="vultus-demo-") as folder:
            stack = Stack(
                data=Path(folder),
                port=free_port(),
                settings={"VULTUS_LOG_FORMAT": "console"},
                sink=lambda name, line: log.append(f"{name:>9} | {line}"),
            )
            with stack_started(stack):
                job = _submit_and_poll(stack.url, source)
                _show(job)
                picture = _annotate(source, job["result"]["faces"])
    except (DemoError, StackError, requests.RequestException) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        for line in log[-15:]:
            print(f"    {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: stopped")
        return 130
    print(f"\n  picture        {os.path.relpath(picture)}")
    print(f"  stopped        nothing is left running; {time.monotonic() - begin:.1f} s in all")
    print("\nNext: `make up` serves on http://127.0.0.1:8000, README.md has a call for each way of getting an answer.")
    return 0


@contextmanager
def stack_started(stack: Stack) -> Iterator[None]:
    """The stack, each part of its start shown as a step."""
    with ExitStack() as stopping:
        with step("stores") as said:
            stopping.enter_context(stack)
            said[0] = "Valkey: ledger (fsync on every write) and broker"
        with step("gateway") as said:
            stack.wait_gateway(START_WITHIN)
            said[0] = stack.url
        with step("worker") as said:
            health = stack.wait_ready(START_WITHIN)
            said[0] = f"{health.get('model_pack')} loaded and warmed"
        yield


def _submit_and_poll(url: str, source: Path) -> dict[str, Any]:
    data = source.read_bytes()
    with step("submit") as said:
        answer = requests.post(
            f"{url}/v1/jobs",
            data={"operation": "analyze", "metadata": '{"made_by": "make demo"}'},
            files={"image": (source.name, data)},
            timeout=30,
        )
        if answer.status_code != requests.codes.accepted:
            problem = answer.json()
            msg = f"{source.name} was not accepted: {problem.get('detail')} ({problem.get('code')})"
            raise DemoError(msg)
        job: dict[str, Any] = answer.json()
        said[0] = f"202  {source.name}, {len(data) / 1024:.0f} KiB -> {job['id'][:16]}..."
    seen = [job["status"]]
    with step("poll") as said:
        deadline = time.monotonic() + JOB_WITHIN
        while job["status"] in {"queued", "running"}:
            if time.monotonic() > deadline:
                msg = f"the job is still {job['status']} after {JOB_WITHIN:g} s"
                raise DemoError(msg)
            time.sleep(0.02)
            job = requests.get(f"{url}/v1/jobs/{job['id']}", timeout=10).json()
            if job["status"] != seen[-1]:
                seen.append(job["status"])
        said[0] = " -> ".join(seen)
    if job["status"] != "succeeded":
        msg = f"the job ended as {job['status']}: {(job['error'] or {}).get('detail')}"
        raise DemoError(msg)
    return job


def _show(job: dict[str, Any]) -> None:
    faces = job["result"]["faces"]
    size = job["result"]["image"]
    print(f"\n  {len(faces)} face{'' if len(faces) == 1 else 's'} in {size['width']}x{size['height']} pixels")
    if faces:
        print("   #   box (x1 y1 x2 y2)         score   quality: width  sharpness  light   liveness")
    for index, face in enumerate(faces, 1):
        box = " ".join(f"{value:5.0f}" for value in face["box"])
        quality, live = face["quality"], face["liveness"]
        score = "" if live["score"] is None else f"{live['score']:.2f}"
        print(
            f"  {index:2}   {box}   {face['score']:.2f}          {quality['face_width_px']:4.0f} px  "
            f"{quality['sharpness']:9.0f}  {quality['brightness']:5.0f}   {live['outcome']} {score}"
        )
    metrics = job["metrics"]
    stages = ("queue", "decode", "detect", "align", "embed", "liveness", "attributes", "total")
    parts = [f"{name} {metrics[f'{name}_ms']:.0f}" for name in stages if metrics.get(f"{name}_ms") is not None]
    print(f"\n  timings (ms)   {' | '.join(parts)}")
    made = job["provenance"]
    print(f"  made by        {made['model_pack']} on {made['provider']}, {made['embedding_contract'][:28]}")


def _annotate(source: Path, faces: list[dict[str, Any]]) -> Path:
    image = decode(source.read_bytes(), max_pixels=40_000_000).pixels.copy()
    scale = max(image.shape[:2]) / 1000
    thick = max(1, round(2 * scale))
    for index, face in enumerate(faces, 1):
        colour = COLOURS.get(face["liveness"]["outcome"], GREY)
        x1, y1, x2, y2 = (round(value) for value in face["box"])
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, thick, cv2.LINE_AA)
        for x, y in face["landmarks"]:
            cv2.circle(image, (round(x), round(y)), max(2, round(2.5 * scale)), colour, -1, cv2.LINE_AA)
        _label(image, f"{index}  {face['score']:.2f}  {face['liveness']['outcome']}", (x1, y1), colour, scale)
    OUT.mkdir(parents=True, exist_ok=True)
    picture = OUT / f"{source.stem}-faces.jpg"
    if not cv2.imwrite(str(picture), image, [cv2.IMWRITE_JPEG_QUALITY, 92]):
        msg = f"cannot write {picture}"
        raise DemoError(msg)
    return picture


def _label(image: Any, text: str, corner: tuple[int, int], colour: tuple[int, int, int], scale: float) -> None:
    font, size, thick = cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, max(1, round(1.2 * scale))
    (width, height), below = cv2.getTextSize(text, font, size, thick)
    pad = round(4 * scale)
    x = max(0, min(corner[0], image.shape[1] - width - 2 * pad))
    y = max(height + below + 2 * pad, corner[1])
    cv2.rectangle(image, (x, y - height - below - 2 * pad), (x + width + 2 * pad, y), colour, -1)
    cv2.putText(image, text, (x + pad, y - below - pad), font, size, (20, 20, 20), thick, cv2.LINE_AA)


if __name__ == "__main__":
    sys.exit(main())
