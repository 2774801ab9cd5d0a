"""A baseline Celery service, as tutorials write it: a prefork task around `FaceAnalysis`, results in Redis.

`uvicorn bench.celery_service:web` and `celery -A bench.celery_service:app worker`, with `RIVAL_STORE` naming a Redis
URL and `CLASSIC_MODELS` a folder of original models. Celery keeps its defaults: a message is acknowledged before its
task runs, four are prefetched per child, and JSON messages carry the image in base64.
"""

import base64
import os
from typing import Annotated, Any

import cv2
import numpy as np
from celery import Celery, signals
from fastapi import FastAPI, File, HTTPException

STORE = os.environ["RIVAL_STORE"]
app = Celery("rival", broker=STORE, backend=STORE)
web = FastAPI()
engine: list[Any] = []


@signals.worker_process_init.connect
def load(**_: Any) -> None:
    """Load the models in each child, as InsightFace's own examples do."""
    from insightface.app import FaceAnalysis  # noqa: PLC0415 - the gateway needs no models

    faces = FaceAnalysis(
        name=os.environ["CLASSIC_MODELS"],
        allowed_modules=["detection", "recognition"],
        providers=["CPUExecutionProvider"],
    )
    faces.prepare(ctx_id=-1, det_size=(640, 640))
    engine.append(faces)


@app.task(name="embed")
def embed_task(image: str) -> list[dict[str, Any]]:
    """Return box and embedding of every face."""
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(image), np.uint8), cv2.IMREAD_COLOR)
    return [{"box": face.bbox.tolist(), "embedding": face.normed_embedding.tolist()} for face in engine[0].get(pixels)]


@web.get("/health")
def health() -> dict[str, str]:
    """Return 200 once a worker is ready."""
    if not app.control.ping(timeout=1):
        raise HTTPException(503)
    return {"status": "healthy"}


@web.post("/embed")
def embed(file: Annotated[bytes, File()]) -> dict[str, Any]:
    """Queue the image and wait for its result."""
    task = embed_task.delay(base64.b64encode(file).decode())
    return {"status": "succeeded", "faces": task.get(timeout=120)}
