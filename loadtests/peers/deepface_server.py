#!/usr/bin/env python3
"""DeepFace behind the same interface as server.py, with the same weights: YuNet and SFace.

    pip install deepface tf-keras flask flask-cors
    deepface_server.py MODELS PORT [WORKERS]

DeepFace keeps its models in one place per process and they are not safe to share between threads, so every worker is a
process. It would fetch its weights from GitHub; here they are laid where it looks for them, from MODELS.
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("DEEPFACE_LOG_LEVEL", "40")
# As the others: DeepFace's own 0.9 loses faces.
os.environ.setdefault("yunet_score_threshold", "0.7")

import asyncio
import multiprocessing
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from aiohttp import web

from server import Server, decoded, serve, unit

WEIGHTS = ["face_detection_yunet_2023mar.onnx", "face_recognition_sface_2021dec.onnx"]


def warm():
    """In each worker, once: imports and models."""
    cv2.setNumThreads(1)
    template(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())


def template(body):
    from deepface import DeepFace
    from deepface.modules.exceptions import FaceNotDetected

    try:
        found = DeepFace.represent(decoded(body), model_name="SFace", detector_backend="yunet", max_faces=1)
    except FaceNotDetected:
        return None
    return unit(np.asarray(found[0]["embedding"], np.float32))


class DeepFaceServer(Server):
    """The gallery is this process's, templates come from the workers."""

    def __init__(self, workers):
        self.pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=warm)
        self.ids, self.rows = [], np.zeros((100_000, 128), np.float32)

    async def answer(self, work, request):
        body = await request.read()
        found = await asyncio.get_running_loop().run_in_executor(self.pool, template, body)
        if found is None:
            raise web.HTTPUnprocessableEntity(text="no face")
        return self.nearest(found) if work == self.best else found


def main():
    models, port = Path(sys.argv[1]), int(sys.argv[2])
    workers = int(sys.argv[3]) if len(sys.argv) > 3 else len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as home:
        weights = Path(home) / ".deepface" / "weights"
        weights.mkdir(parents=True)
        for name in WEIGHTS:
            shutil.copy(models / name, weights / name)
        os.environ["DEEPFACE_HOME"] = home
        serve(DeepFaceServer(workers), port)


if __name__ == "__main__":
    main()
