# SPDX-License-Identifier: MIT
"""The first minutes on a GPU: what nothing but a GPU can tell, in parts of under ten minutes.

    python benchmarks/gpu.py --data ../shared/data        # all parts, as `make gpu`
    python benchmarks/gpu.py sync knn                     # some of them

Each part is a process of its own that writes ``gpu-<part>.json`` after every figure, so that one
that crashes or takes too long leaves what it has. At the end a page shows all figures beside their
targets. Exit status 1 where one is missed or a part failed, 2 (and one line) without a GPU.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gpu_detect
import gpu_input
import gpu_train
import gpu_two
import torch
from conditions import conditions
from figures import Figure, holds

ROOT = Path(__file__).parents[1]
LIMIT = 590.0  # seconds a part may take


def tests(args: argparse.Namespace) -> Iterator[Figure]:
    """What the tests with the mark ``gpu`` say."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rsf"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    counts = {name: int(n) for n, name in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    wrong = "" if done.returncode == 0 else f"pytest ended with status {done.returncode}"
    told = [line for line in done.stdout.splitlines() if line.startswith(("SKIPPED", "FAILED"))]
    figure = holds("pytest -m gpu passes", wrong)
    figure.more = {"counts": counts, "told": told}
    yield figure


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Figure]]] = {
    "tests": tests,
    "sync": gpu_train.sync,
    "pixels": gpu_input.pixels,
    "data": gpu_input.data,
    "step": gpu_train.step,
    "fed": gpu_input.fed,
    "knn": gpu_train.knn,
    "resume": gpu_train.resume,
    "detect": gpu_detect.detect,
    "two": gpu_two.two,
}
_OF_IMAGES = ("pixels", "data", "fed", "detect")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""

    def part(name: str) -> str:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(PARTS)}")
        return name

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("parts", nargs="*", type=part, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, help="folder of imagenet-sample/, cifar10/, bccd/")
    parser.add_argument("--images", type=int, default=10_000, help="the sample is repeated")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds a part may take")
    parser.add_argument("--inside", type=part, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    args.parts = list(dict.fromkeys(args.parts)) or list(PARTS)
    return args


def inside(part: str, args: argparse.Namespace) -> None:
    """Runs one part in this process."""
    head = {"benchmark": f"gpu-{part}", **conditions(), "gpus": torch.cuda.device_count()}
    figures: list[dict[str, Any]] = []
    lacking = part in _OF_IMAGES and args.data is None
    needs = Figure(part, why="give --data, a folder of imagenet-sample/, cifar10/, bccd/")
    for figure in [needs] if lacking else PARTS[part](args):
        print(figure.line(), flush=True)
        figures.append(asdict(figure))
        _write(args.results, part, {**head, "figures": figures})


def run(part: str, args: argparse.Namespace) -> None:
    """Runs one part in a process of its own, which ends with all it started."""
    (args.results / f"gpu-{part}.json").unlink(missing_ok=True)
    command = [sys.executable, __file__, "--inside", part, "--images", str(args.images)]
    command += ["--results", str(args.results)]
    command += ["--data", str(args.data)] if args.data else []
    child = subprocess.Popen(command, start_new_session=True)
    try:
        status = child.wait(args.limit)
        problem = f"ended with status {status}" if status else ""
    except subprocess.TimeoutExpired:
        problem = f"stopped after {args.limit:g} s"
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if problem:
        _write(args.results, part, {**_read(args.results, part), "problem": problem})


def page(parts: Sequence[str], results: Path) -> int:
    """Prints all figures; 1 where a target is missed or a part failed."""
    wrong = False
    for part in parts:
        found = _read(results, part)
        print(f"\n{part}  {found.get('problem', '')}".rstrip())
        figures = [Figure(**figure) for figure in found.get("figures", [])]
        print(*(figure.line() for figure in figures), sep="\n")
        wrong |= "problem" in found or any(figure.missed for figure in figures)
    return int(wrong)


def _read(results: Path, part: str) -> dict[str, Any]:
    path = results / f"gpu-{part}.json"
    return json.loads(path.read_text()) if path.is_file() else {"benchmark": f"gpu-{part}"}


def _write(results: Path, part: str, content: dict[str, Any]) -> None:
    results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, default=str)
    (results / f"gpu-{part}.json").write_text(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts and shows the page."""
    args = parse(arguments)
    if not torch.cuda.is_available():
        print("gpu.py: there is no CUDA device here, nothing was measured", file=sys.stderr)
        return 2
    if args.inside:
        inside(args.inside, args)
        return 0
    for part in args.parts:
        print(f"{part} ...", flush=True)
        run(part, args)
    return page(args.parts, args.results)


if __name__ == "__main__":
    raise SystemExit(main())
