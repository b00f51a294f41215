#!/usr/bin/env python3
"""The face server that a competent person writes in an afternoon, to be measured beside Visavis.

    server.py opencv MODELS PORT [WORKERS]     YuNet and SFace through OpenCV's own classes
    server.py onnx   MODELS PORT [WORKERS]     SCRFD (320) and w600k_mbf through ONNX Runtime

MODELS is a folder with the .onnx files. POST /enrol?id=ID and POST /identify take a photo as their body; the answer of
the latter is {"id": ..., "score": ...}. A photo without a face is answered with 422.
"""
import os

# The BLAS behind numpy would otherwise let its threads spin on the cores that the models need.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from aiohttp import web

TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
                     [70.7299, 92.2041]], dtype=np.float32)


def decoded(body):
    return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)


def unit(vector):
    vector = vector.ravel()
    return vector / np.linalg.norm(vector)


class OpenCv:
    """Pictures are reduced to 640 pixels where they are larger, and never enlarged."""

    dim = 128

    def __init__(self, models):
        detector = str(models / "face_detection_yunet_2023mar.onnx")
        self.detector = cv2.FaceDetectorYN.create(detector, "", (320, 320), 0.7, 0.3, 50)
        self.embedder = cv2.FaceRecognizerSF.create(str(models / "face_recognition_sface_2021dec.onnx"), "")
        self.size = None

    def template(self, body):
        picture = decoded(body)
        reduction = 640 / max(picture.shape[:2])
        if reduction < 1:
            picture = cv2.resize(picture, None, fx=reduction, fy=reduction, interpolation=cv2.INTER_LINEAR)
        size = picture.shape[1::-1]
        if size != self.size:
            self.detector.setInputSize(size)
            self.size = size
        faces = self.detector.detect(picture)[1]
        if faces is None:
            return None
        largest = max(faces, key=lambda face: face[2] * face[3])
        return unit(self.embedder.feature(self.embedder.alignCrop(picture, largest)))


class Onnx:
    """One thread a session: as many workers as cores do more than threads within a session."""

    dim = 512
    side = 320

    def __init__(self, models):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1

        def load(name):
            session = onnxruntime.InferenceSession(str(models / name), options, ["CPUExecutionProvider"])
            return session, session.get_inputs()[0].name

        self.detector, self.canvas = load("scrfd_500m_bnkps.onnx")
        self.embedder, self.crop = load("w600k_mbf.onnx")

    def landmarks(self, picture):
        side, scale = self.side, self.side / max(picture.shape[:2])
        small = cv2.resize(picture, None, fx=scale, fy=scale)
        canvas = np.zeros((side, side, 3), np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        planes = cv2.dnn.blobFromImage(canvas, 1 / 128, (side, side), (127.5,) * 3, swapRB=True)
        outputs = self.detector.run(None, {self.canvas: planes})
        best, found = 0.0, None
        for level, stride in enumerate((8, 16, 32)):
            scores = outputs[level].ravel()
            for at in np.flatnonzero(scores >= 0.5):
                cell = at // 2
                corner = np.array([cell % (side // stride), cell // (side // stride)], np.float32) * stride
                left, top, right, bottom = outputs[level + 3].reshape(-1, 4)[at] * stride
                area = (left + right) * (top + bottom)
                if area > best:
                    best = area
                    found = corner + outputs[level + 6].reshape(-1, 5, 2)[at] * stride
        return None if found is None else found / scale

    def template(self, body):
        picture = decoded(body)
        points = self.landmarks(picture)
        if points is None:
            return None
        crop = cv2.warpAffine(picture, similarity(points, TEMPLATE), (112, 112))
        planes = cv2.dnn.blobFromImage(crop, 1 / 127.5, (112, 112), (127.5,) * 3, swapRB=True)
        return unit(self.embedder.run(None, {self.crop: planes})[0])


def similarity(source, target):
    """Least squares over complex numbers: target = a * source + b."""
    p, q = (np.asarray(points, np.float64) @ [1, 1j] for points in (source, target))
    centred = p - p.mean()
    a = np.vdot(centred, q - q.mean()) / np.vdot(centred, centred)
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], np.float32)


class Server:
    def __init__(self, pipeline, models, workers):
        self.make, self.models = pipeline, models
        self.pool, self.local = ThreadPoolExecutor(workers), threading.local()
        self.ids, self.rows = [], np.zeros((100_000, pipeline.dim), np.float32)

    def template(self, body):
        if not hasattr(self.local, "pipeline"):
            self.local.pipeline = self.make(self.models)
        return self.local.pipeline.template(body)

    def best(self, body):
        template = self.template(body)
        return None if template is None else self.nearest(template)

    def nearest(self, template):
        scores = self.rows[: len(self.ids)] @ template
        best = int(np.argmax(scores))
        return {"id": self.ids[best], "score": float(scores[best])}

    async def answer(self, work, request):
        result = await asyncio.get_running_loop().run_in_executor(self.pool, work, await request.read())
        if result is None:
            raise web.HTTPUnprocessableEntity(text="no face")
        return result

    async def enrol(self, request):
        template = await self.answer(self.template, request)
        self.rows[len(self.ids)] = template
        self.ids.append(request.query["id"])
        return web.json_response({"enrolled": len(self.ids)})

    async def identify(self, request):
        return web.json_response(await self.answer(self.best, request))


def serve(server, port):
    app = web.Application(client_max_size=32 << 20)
    app.router.add_post("/enrol", server.enrol)
    app.router.add_post("/identify", server.identify)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


def main():
    kind, models, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    workers = int(sys.argv[4]) if len(sys.argv) > 4 else len(os.sched_getaffinity(0))
    cv2.setNumThreads(1)
    serve(Server({"opencv": OpenCv, "onnx": Onnx}[kind], models, workers), port)


if __name__ == "__main__":
    main()
