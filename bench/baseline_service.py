"""InsightFace's own pipeline, as a baseline."""

from functools import partial

import onnxruntime
from insightface.app import FaceAnalysis

from bench.pieces import Pieces, one_thread, settings
from worker.engine.library_files import library_pack
from worker.packs.manifests import NEEDED


def face_analysis(*, defaults: bool) -> Pieces:
    """Load InsightFace's own pipeline over the original files, with one thread per session or with its defaults."""
    worker_settings = settings()
    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and worker_settings.provider != "cpu"
    with library_pack(worker_settings.models_dir, worker_settings.pack, roles=NEEDED).opened() as folder:
        pipeline = FaceAnalysis(
            name=folder,
            allowed_modules=["detection", "recognition"],
            providers=["CUDAExecutionProvider", "CPUExecutionProvider"] if gpu else ["CPUExecutionProvider"],
            **({} if defaults else {"sess_options": one_thread()}),
        )
        pipeline.prepare(ctx_id=0 if gpu else -1, det_size=(640, 640))  # opens the sessions
    return lambda picture: {"FaceAnalysis.get": partial(pipeline.get, picture.pixels)}
