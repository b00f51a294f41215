"""The training engine beside PyTorch: the same step of the same ONNX files, in turn, round by round, so that whatever
else the machine does meets both. Prints a table of medians and of the ratios within rounds.

    cargo build --release -p visavis-autograd --example step
    python loadtests/peers/train.py --rounds 5 --threads 2 --batch 32 MODEL.onnx...
"""

import argparse
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
STEP = HERE.parents[1] / "target/release/examples/step"


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    line = done.stdout.strip().splitlines()[-1]
    return {key: value for key, value in (word.split("=", 1) for word in line.split())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--frozen", action="store_true")
    parser.add_argument("--python", default=sys.executable, help="interpreter with torch and onnx")
    given = parser.parse_args()
    print("| model | images/s | PyTorch | ratio (least, most) | MiB | PyTorch | share |")
    print("|---|---|---|---|---|---|---|")
    for model in given.models:
        common = ["--model", model, "--batch", given.batch, "--threads", given.threads, "--steps", given.steps]
        common += ["--frozen"] if given.frozen else []
        ours, theirs = [], []
        for _ in range(given.rounds):
            ours.append(run([STEP, *common]))
            theirs.append(run([given.python, HERE / "torch_step.py", *common]))
        rate = lambda runs: [float(r["images_per_s"]) for r in runs]
        ratios = [a / b for a, b in zip(rate(ours), rate(theirs))]
        peak = lambda runs: max(int(r["peak_mib"]) for r in runs)
        print(
            f"| {model.stem} | {statistics.median(rate(ours)):.1f} | {statistics.median(rate(theirs)):.1f} "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f}) "
            f"| {peak(ours)} | {peak(theirs)} | {peak(ours) / peak(theirs):.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
