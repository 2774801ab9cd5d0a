"""A baseline service: one process, synchronous endpoints, InsightFace's `FaceAnalysis` with its defaults.

`python -m uvicorn bench.classic:app` with `CLASSIC_MODELS` naming a folder of original models. `CLASSIC_ONE_THREAD=1`
gives each model one thread, for one process per core.
"""

import os
from typing import Annotated, Any

import cv2
import numpy as np
import onnxruntime
from fastapi import FastAPI, File, HTTPException
from insightface.app import FaceAnalysis

app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
faces = FaceAnalysis(
    name=os.environ["CLASSIC_MODELS"],
    allowed_modules=["detection", "recognition"],
    providers=["CPUExecutionProvider"],
    **({"sess_options": options} if os.environ.get("CLASSIC_ONE_THREAD") else {}),
)
faces.prepare(ctx_id=-1, det_size=(640, 640))


@app.get("/health")
def health() -> dict[str, str]:
    """Return 200 once the service is up."""
    return {"status": "healthy"}


@app.post("/embed")
def embed(file: Annotated[bytes, File()]) -> dict[str, Any]:
    """Return the box and embedding of every face."""
    image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise HTTPException(400)
    detected = faces.get(image)
    return {
        "status": "succeeded",
        "faces": [{"box": face.bbox.tolist(), "embedding": face.normed_embedding.tolist()} for face in detected],
    }
