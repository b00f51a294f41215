#!/usr/bin/env python3
"""The table of loadtests/README.md, measured anew: some six minutes on a quiet machine with two cores.

    python3 -m venv peers
    peers/bin/pip install opencv-python-headless==5.0.0.93 onnxruntime aiohttp numpy faiss-cpu deepface tf-keras flask flask-cors
    cargo build --release
    peers/bin/python loadtests/peers/table.py --visavis target/release/visavis --lfw LFW --large PHOTOS

LFW and PHOTOS are folders with a folder of photos for each person; of PHOTOS only those of 0.7 megapixels and more are
asked with. Each part starts its servers, measures them in turns, and ends them. --parts takes some of the parts alone;
`deepface` is left out where DeepFace is not installed, `onnx` where its weights (for research only) are not accepted.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = ["float", "int8", "large", "onnx", "deepface", "pipeline", "search", "faiss", "models"]
MODELS = {
    "yunet": "face_detection_yunet_2023mar.onnx",
    "sface": "face_recognition_sface_2021dec.onnx",
    "scrfd_500m": "scrfd_500m_bnkps.onnx",
    "w600k_mbf": "w600k_mbf.onnx",
}


def asked(command, **more):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}{done.stdout}")
    return done.stdout


def models(visavis, folder, names, accept):
    """The named models under the names of their files."""
    told = asked([visavis, "models", "fetch", *names], env=os.environ | ({"VISAVIS__MODELS__ACCEPT_LICENCE": "true"} if accept else {}))
    for line in told.splitlines():
        name, _, path = line.partition(": ")
        if name in MODELS:
            shutil.copy(path, folder / MODELS[name])


@contextlib.contextmanager
def server(script, *arguments):
    """A peer on a free port, while it is needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, HERE / script, *arguments, port]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None:
                sys.exit(f"{script} ended before it began")
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


class Table:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder

    def bench(self, *arguments):
        return json.loads(asked([self.args.visavis, "bench", *arguments, "--json"]))

    def serve(self, title, images, clients, *more, peers):
        """Visavis and its peers in turns, one row each."""
        arguments = ["serve", "--images", images, "--clients", ",".join(map(str, clients)), *more]
        arguments += ["--seconds", self.args.seconds, "--rounds", self.args.rounds]
        for name, address in peers.items():
            arguments += ["--peer", f"{name}={address}"]
        report = self.bench(*arguments)
        of = {(load["server"], load["pace"]["clients"]): load for load in report["loads"]}
        for name in [*peers, "visavis"]:
            cells = [f"{title}: {name}"]
            load = of[name, 4]
            rate = f"{load['outcome']['per_second']:.1f}"
            if name == "visavis" and peers:
                rate += f" ({1 / of[next(iter(peers)), 4]['ratio_to_first']:.2f}×)"
            cells.append(rate)
            cells.append(f"{of[name, 1]['outcome']['p50_ms']:.1f}" if 1 in clients else "–")
            cells.append(f"{100 * load['rank_1']:.1f} %")
            print("| " + " | ".join(cells) + " |", flush=True)
        if 16 in clients:
            load = of["visavis", 16]
            print(
                f"| {title}: over HTTPS, 16 clients | {load['outcome']['per_second']:.1f}/s, "
                f"the models alone {report['bound_per_second']:.1f}/s | {100 * load['share_of_bound']:.1f} % | |"
            )

    def opencv(self):
        return server("server.py", "opencv", self.folder)

    def float(self):
        with self.opencv() as peer:
            self.serve("float", self.args.lfw, [1, 4, 16], peers={"OpenCV": peer})

    def int8(self):
        asked([self.args.visavis, "models", "quantize", "--calibration", self.args.lfw])
        with self.opencv() as peer:
            self.serve("int8", self.args.lfw, [1, 4], "--precision", "int8", peers={"OpenCV": peer})

    def large(self):
        if self.args.large:
            with self.opencv() as peer:
                self.serve("large", self.args.large, [4], "--min-pixels", 700_000, peers={"OpenCV": peer})

    def onnx(self):
        if self.args.accept_licence:
            models(self.args.visavis, self.folder, ["scrfd_500m", "w600k_mbf"], True)
            with server("server.py", "onnx", self.folder) as peer:
                self.serve("onnx", self.args.lfw, [1, 4], peers={"SCRFD + w600k_mbf": peer})

    def deepface(self):
        if importlib.util.find_spec("deepface"):
            with server("deepface_server.py", self.folder) as peer:
                self.serve("deepface", self.args.lfw, [1, 4], peers={"DeepFace": peer})

    def pipeline(self):
        found = self.bench("pipeline", "--images", self.args.lfw)
        print(
            f"| photos to templates | {found['photos_per_second']:.1f}/s, the models alone "
            f"{found['bound_per_second']:.1f}/s | {100 * found['share_of_bound']:.1f} % |"
        )

    def search(self):
        found = self.bench("search", "--rows", 1_000_000, "--dim", 512, "--batch", 1)
        batch = found["batches"][0]
        print(
            f"| search, 1 M × 512, one thread, one probe | {batch['ms']:.1f} ms, {batch['gb_per_second']:.1f} GB/s of "
            f"{batch['read_gb_per_second']:.1f} GB/s | {100 * batch['share_of_read_bandwidth']:.1f} % |"
        )

    def faiss(self):
        print(asked([sys.executable, HERE / "search.py", "--visavis", self.args.visavis, "--rounds", 3]).rstrip())

    def models(self):
        print(asked([self.args.visavis, "bench", "models", "--batch", 1, "--threads", 1]).rstrip())


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--visavis", required=True, type=Path, help="the program")
    flags.add_argument("--lfw", required=True, type=Path, help="photos, a folder for each person")
    flags.add_argument("--large", type=Path, help="the same with larger photos")
    flags.add_argument("--accept-licence", action="store_true", help="fetch weights that are for research only")
    flags.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    flags.add_argument("--seconds", type=float, default=2.0, help="of each load")
    flags.add_argument("--rounds", type=int, default=3)
    args = flags.parse_args()
    print("| | requests/s, 4 clients | p50 ms, 1 client | rank-1 |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        models(args.visavis, Path(folder), ["yunet", "sface"], False)
        table = Table(args, Path(folder))
        for part in args.parts:
            begun = time.monotonic()
            getattr(table, part)()
            print(f"{part}: {time.monotonic() - begun:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
