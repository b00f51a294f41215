#!/usr/bin/env python3
"""Allocations and copies of an identify request, the whole service's: gateway, queue, worker, models and reply.

    cargo build --release --features system-allocator
    python3 loadtests/allocations.py --visavis target/release/visavis --lfw LFW

The system's allocator can be counted from outside, the one that the program normally has cannot. Counted are calls of
malloc and its kin, those of 64 KiB and more apart, and calls of memcpy and memmove for 4 KiB and more. Linux, cc.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import ssl
import struct
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ["allocations", "bytes", "of 64 KiB and more", "bytes of those", "copies of 4 KiB and more", "bytes copied"]


def form(fields, photo):
    """A multipart body and its media type."""
    boundary = "part-7f1c2d9a60e34b5b"
    parts = [f'--{boundary}\r\ncontent-disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields]
    name, bytes = photo
    parts.append(f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"; filename="a.jpg"\r\n\r\n'.encode())
    return b"".join([*parts, bytes, f"\r\n--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


class Client:
    def __init__(self, address, data):
        context = ssl.create_default_context(cafile=data / "tls" / "cert.pem")
        context.check_hostname = False
        host, port = address.rsplit(":", 1)
        self.connection = http.client.HTTPSConnection(host, int(port), context=context)
        self.key = (data / "admin.key").read_text().strip()

    def post(self, path, body, kind):
        headers = {"authorization": f"Bearer {self.key}", "content-type": kind}
        self.connection.request("POST", path, body, headers)
        answer = self.connection.getresponse()
        told = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{path}: {answer.status} {told.decode()}")


@contextlib.contextmanager
def service(visavis, folder):
    """The service under the counters: its address, its data, and the file of the counters."""
    library, counters, log = folder / "count.so", folder / "counters", folder / "log"
    subprocess.run(["cc", "-O2", "-fPIC", "-shared", "-o", library, HERE / "allocations.c"], check=True)
    command = [visavis, "up", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", folder / "data"]
    environment = os.environ | {"LD_PRELOAD": str(library), "ALLOCATIONS": str(counters)}
    with open(log, "wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        while "curl" not in log.read_text():
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.1)
        address = re.search(r"https://([\w.]+:\d+)", log.read_text())[1].replace("localhost", "127.0.0.1")
        yield address, folder / "data", counters
    finally:
        process.terminate()
        process.wait()


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--visavis", required=True, type=Path)
    flags.add_argument("--lfw", required=True, type=Path, help="photos, a folder for each person")
    flags.add_argument("--requests", type=int, default=200)
    args = flags.parse_args()
    photos = [photo.read_bytes() for photo in sorted(args.lfw.glob("*/*.jpg"))[:: 25]]
    with tempfile.TemporaryDirectory() as folder, service(args.visavis, Path(folder)) as (address, data, counters):
        client = Client(address, data)
        made = {"id": "bench", "purposes": ["access_control"], "quality_gate": "none"}
        client.post("/v1/collections", json.dumps(made), "application/json")
        consent = '{"purposes": ["access_control"], "method": "signed_form"}'
        for n, photo in enumerate(photos[:20]):
            fields = [("id", f"s{n}"), ("consent", consent), ("face_selection", "largest")]
            client.post("/v1/collections/bench/subjects", *form(fields, ("images", photo)))
        asked = [form([], ("image", photo)) for photo in photos]
        for body in asked:
            client.post("/v1/collections/bench/identify", *body)
        counted = lambda: struct.unpack("6Q", counters.read_bytes())
        before = counted()
        for n in range(args.requests):
            client.post("/v1/collections/bench/identify", *asked[n % len(asked)])
        sent = sum(len(asked[n % len(asked)][0]) for n in range(args.requests))
        print(f"per request, of {args.requests}; a body has {sent / args.requests:.0f} bytes")
        for name, was, now in zip(NAMES, before, counted()):
            print(f"  {name:26} {(now - was) / args.requests:12.1f}")


if __name__ == "__main__":
    main()
