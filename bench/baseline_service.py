"""Insightface's own pipeline, to compare with."""

from functools import partial

import onnxruntime
from insightface.app import FaceAnalysis

from bench.pieces import Pieces, one_thread, settings
from worker.engine.library_files import library_pack
from worker.packs.manifests import NEEDED


def face_analysis(*, defaults: bool) -> Pieces:
    """Insightface's own pipeline over the original files; one thread for each session as ours has, or its defaults."""
    told = settings()
    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and told.provider != "cpu"
    with library_pack(told.models_dir, told.pack, roles=NEEDED).opened() as alone:
        theirs = FaceAnalysis(
            name=alone,
            allowed_modules=["detection", "recognition"],
            providers=["CUDAExecutionProvider", "CPUExecutionProvider"] if gpu else ["CPUExecutionProvider"],
            **({} if defaults else {"sess_options": one_thread()}),
        )
        theirs.prepare(ctx_id=0 if gpu else -1, det_size=(640, 640))  # opens the sessions
    return lambda picture: {"FaceAnalysis.get": partial(theirs.get, picture.pixels)}
