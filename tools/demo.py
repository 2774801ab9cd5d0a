"""`make demo`: send one photo through the real gateway, queue and worker, show each step, then stop everything."""

import json
import os
import queue
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

from shared.webhooks.signing import new_secret
from tools.loopback import session
from tools.ports import free_port
from tools.receiver import TO_THIS_MACHINE, Callback, receiving
from tools.setup import ROOT
from tools.stack import Stack, StackError
from worker.images import decode

OUT: Final = ROOT / ".data" / "demo"
START_WITHIN: Final = 60.0
JOB_WITHIN: Final = 60.0
GREEN: Final = (80, 200, 60)
RED: Final = (60, 60, 230)
GREY: Final = (160, 160, 160)
COLOURS: Final = {"live": GREEN, "spoof": RED}


class DemoError(Exception):
    """The demo cannot continue; the message says why."""


def photo() -> Path:
    """Return the photo to analyze: `IMAGE`, or the group picture that ships with the insightface package.

    Raises:
        DemoError: the file does not exist.
    """
    image = os.environ.get("IMAGE")
    if image:
        path = Path(image).expanduser()
        if not path.is_file():
            msg = f"IMAGE={image}: file not found"
            raise DemoError(msg)
        return path
    package = find_spec("insightface")
    if package is None or not package.submodule_search_locations:
        msg = "the insightface package is missing; run: make setup"
        raise DemoError(msg)
    return Path(next(iter(package.submodule_search_locations))) / "data" / "images" / "t1.jpg"


@contextmanager
def step(name: str) -> Iterator[list[str]]:
    """Print a step with its outcome, which the block puts in the yielded list, and its duration."""
    begin, outcome = time.monotonic(), [""]
    if sys.stdout.isatty():
        print(f"  {name:<14} ...", end="", flush=True)
    yield outcome
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    print(f"  {name:<14} {outcome[0]:<52} {time.monotonic() - begin:6.2f} s", flush=True)


def main() -> int:
    """Run the demo; return 0 if the photo was analyzed and the annotated picture written."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    log: list[str] = []
    begin = time.monotonic()
    try:
        source, secret = photo(), new_secret()
        with tempfile.TemporaryDirectory(prefix="vultus-demo-") as folder:
            stack = Stack(
                data=Path(folder),
                port=free_port(),
                settings={"VULTUS_LOG_FORMAT": "console", **TO_THIS_MACHINE, "VULTUS_WEBHOOK_SECRETS": secret},
                sink=lambda name, line: log.append(f"{name:>9} | {line}"),
            )
            callbacks: queue.Queue[Callback] = queue.Queue()
            with stack_started(stack), receiving(secret=secret, heard=callbacks.put) as receiver:
                job = _submit_and_follow(stack.url, source)
                _submit_and_wait(stack.url, source)
                _submit_and_be_called(stack.url, source, receiver, callbacks)
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
    print(f"  stopped        no process is left running; {time.monotonic() - begin:.1f} s in total")
    print("\nNext: `make up` serves on http://127.0.0.1:8000. See docs/clients.md for each way to receive results.")
    return 0


@contextmanager
def stack_started(stack: Stack) -> Iterator[None]:
    """Start the stack and show each part as a step."""
    with ExitStack() as stopping:
        with step("stores") as outcome:
            stopping.enter_context(stack)
            outcome[0] = "Valkey: ledger (fsync on every write) and broker"
        with step("gateway") as outcome:
            stack.wait_gateway(START_WITHIN)
            outcome[0] = stack.url
        with step("worker") as outcome:
            health = stack.wait_ready(START_WITHIN)
            outcome[0] = f"{health.get('model_pack')} loaded and warmed"
        yield


def _submit_and_follow(url: str, source: Path) -> dict[str, Any]:
    """Submit a job and follow its events until it completes."""
    with step("submit") as outcome:
        answer = _post(url, source, operation="analyze", metadata='{"made_by": "make demo"}')
        if answer.status_code != requests.codes.accepted:
            raise DemoError(_refusal(source, answer))
        job: dict[str, Any] = answer.json()
        size = source.stat().st_size / 1024
        outcome[0] = f"202  {source.name}, {size:.0f} KiB -> {job['id'][:16]}..."
    seen: list[str] = []
    with step("events") as outcome:
        for name, data in _events(url + job["urls"]["events"]):
            if name == "end":
                job = data
            else:
                seen.append(data.get("status", name))
        outcome[0] = " -> ".join(seen)
    if job["status"] != "succeeded":
        msg = f"the job ended as {job['status']}: {(job['error'] or {}).get('detail')}"
        raise DemoError(msg)
    return job


def _submit_and_wait(url: str, source: Path) -> None:
    """Submit a job and wait for it in the same call."""
    with step("prefer: wait") as outcome:
        answer = _post(url, source, operation="detect", headers={"Prefer": f"wait={JOB_WITHIN:g}"})
        if answer.status_code != requests.codes.ok:
            raise DemoError(_refusal(source, answer))
        faces = len(answer.json()["result"]["faces"])
        outcome[0] = f"200  {faces} face{'' if faces == 1 else 's'}, submitted and completed in one call"


def _submit_and_be_called(url: str, source: Path, receiver: str, callbacks: "queue.Queue[Callback]") -> None:
    """Submit a job with a webhook and receive the signed callback."""
    with step("webhook") as outcome:
        answer = _post(url, source, operation="detect", webhook=json.dumps({"url": receiver}))
        if answer.status_code != requests.codes.accepted:
            raise DemoError(_refusal(source, answer))
        try:
            callback = callbacks.get(timeout=JOB_WITHIN)
        except queue.Empty:
            msg = f"no callback arrived within {JOB_WITHIN:g} s"
            raise DemoError(msg) from None
        if callback.problem:
            msg = f"the signature of the callback is invalid: {callback.problem}"
            raise DemoError(msg)
        outcome[0] = f"{callback.body['type']}, signature valid, {callback.id[:16]}..."


def _post(url: str, source: Path, *, headers: dict[str, str] | None = None, **form: str) -> requests.Response:
    files = {"image": (source.name, source.read_bytes())}
    with session() as direct:
        return direct.post(f"{url}/v1/jobs", data=form, files=files, headers=headers, timeout=JOB_WITHIN + 10)


def _refusal(source: Path, answer: requests.Response) -> str:
    body = answer.json()
    return f"{source.name}: {answer.status_code} {body.get('detail') or body.get('status')} ({body.get('code')})"


def _events(url: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and data of each server-sent event until the stream ends."""
    with session() as direct, direct.get(url, stream=True, timeout=JOB_WITHIN) as stream:
        stream.raise_for_status()
        name, data = "message", ""
        for line in stream.iter_lines(decode_unicode=True):
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
            elif not line and data:
                yield name, json.loads(data)
                name, data = "message", ""


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
