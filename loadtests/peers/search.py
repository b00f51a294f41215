"""Exact search beside faiss: `visavis bench search` and faiss-cpu IndexFlatIP, one thread each, in turn.

    pip install faiss-cpu numpy
    python loadtests/peers/search.py --visavis target/release/visavis [--rows 100000] [--dim 512] [--batch 1 32]

Both search as many vectors of as many values for as many candidates; a round measures one and then the other, and what
is printed is the median over the rounds of the ratio. Not part of CI.
"""

import argparse
import json
import os
import statistics
import subprocess
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The kernels that OpenBLAS picks by itself on recent processors are up to several times slower.
if "avx512f" in open("/proc/cpuinfo").read():
    os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
import faiss  # noqa: E402
import numpy as np  # noqa: E402


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def gallery(rows, dim, rng):
    """Vectors spread as those of faces are: an uneven spectrum, turned at random."""
    spectrum = np.arange(1, dim + 1, dtype="f4") ** -0.3
    turn, _ = np.linalg.qr(rng.standard_normal((dim, dim), dtype="f4"))
    made = np.empty((rows, dim), "f4")
    for first in range(0, rows, 50_000):
        part = rng.standard_normal((min(50_000, rows - first), dim), dtype="f4")
        made[first : first + len(part)] = unit((part * spectrum) @ turn)
    return made


def milliseconds(search, probes, batch, repeats):
    """The median time of a search of `batch` probes, other probes each time."""
    times = []
    for n in range(repeats + 1):
        some = np.ascontiguousarray(np.take(probes, range(n * batch, (n + 1) * batch), axis=0, mode="wrap"))
        begun = time.perf_counter()
        search(some)
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times[1:])


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--visavis", required=True, help="the program")
    flags.add_argument("--rows", type=int, default=100_000)
    flags.add_argument("--dim", type=int, default=512)
    flags.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    flags.add_argument("--limit", type=int, default=5)
    flags.add_argument("--rounds", type=int, default=5)
    flags.add_argument("--repeats", type=int, default=15)
    args = flags.parse_args()

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(1)
    index = faiss.IndexFlatIP(args.dim)
    index.add(gallery(args.rows, args.dim, rng))
    probes = gallery(256, args.dim, rng)
    command = [args.visavis, "bench", "search", "--json", "--threads", "1", "--rows", str(args.rows), "--dim", str(args.dim)]
    command += ["--limit", str(args.limit), "--rounds", str(args.repeats), "--batch", ",".join(map(str, args.batch))]
    ours = {batch: [] for batch in args.batch}
    theirs = {batch: [] for batch in args.batch}
    for _ in range(args.rounds):
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for found in report["batches"]:
            ours[found["probes"]].append(found["ms"])
        for batch in args.batch:
            theirs[batch].append(milliseconds(lambda some: index.search(some, args.limit), probes, batch, args.repeats))
    print(f"faiss {faiss.__version__} ({faiss.get_compile_options().strip()}), {args.rows} rows of {args.dim}, one thread")
    print(f"visavis {report['visavis']} ({report['kernel']}), {report['bytes_per_template']} bytes per template")
    for batch in args.batch:
        ratios = [b / a for a, b in zip(ours[batch], theirs[batch])]
        print(
            f"  {batch:3} probes: visavis {statistics.median(ours[batch]):8.3f} ms, "
            f"IndexFlatIP {statistics.median(theirs[batch]):8.3f} ms; ratio {statistics.median(ratios):5.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
