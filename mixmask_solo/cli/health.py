# SPDX-License-Identifier: MIT
"""``mixmask-health``: does a checkpoint's representation collapse?"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from mixmask_solo.cli.ending import fail, loading, one_line
from mixmask_solo.cli.evaluated import add_network_and_images, as_options, network_and_images
from mixmask_solo.cli.parser import Parser
from mixmask_solo.config import ConfigError
from mixmask_solo.report import columns

COMMAND = "mixmask-health"
EPILOG = """
Everything that is not given comes from the run itself (its checkpoint or args.json), so that

  mixmask-health trained_models/simclr/NAME

is enough. rank is RankMe, the effective rank, of the highest there can be; std is that of spread
embeddings where both numbers are equal; uniformity and alignment are better the lower they are,
together. The verdict goes by fixed thresholds and is a heuristic: docs/health.md.
Exit status: 0 done, whatever the verdict, 1 failed, 2 wrong input, 128 + signal.
"""
_HEAD = ("features", "rank", "of", "std", "spread", "uniformity", "alignment", "verdict")


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if args.out is not None and args.out.is_dir():
        fail(COMMAND, f"--out is {args.out}: a folder is there, give the name of a file")
    with one_line(COMMAND, args.out):
        with loading(COMMAND):
            from mixmask_solo.config.files import write_json
            from mixmask_solo.evaluation.run_health import evaluate_health
            from mixmask_solo.screen import track
        try:
            result = evaluate_health(
                args.checkpoint, **network_and_images(args), watch=partial(track, label="features")
            )
        except ConfigError as error:
            fail(COMMAND, as_options(str(error), parser))
        out = args.out or Path(result["checkpoint"]).parent / "health.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, result)
        if args.json:
            print(json.dumps(result, indent=2))
            return
    print(columns([_HEAD, *map(_cells, result["rows"])], right=(1, 2, 3, 4, 5, 6)))
    if "no_alignment" in result:
        print(f"no alignment: {result['no_alignment']}")
    print(_summary(result, out))


def _parser() -> Parser:
    parser = Parser(
        prog=COMMAND,
        description="Spread, effective rank, uniformity and alignment of a network's features.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    help_ = "folder of a run, or one checkpoint"
    parser.add_argument("checkpoint", metavar="CHECKPOINT|RUN", help=help_)
    add_network_and_images(parser)
    parser.add_argument("--json", action="store_true", help="print what is written, nothing else")
    parser.add_argument("--out", type=Path, help="default: health.json beside the checkpoint")
    return parser


def _cells(row: dict[str, Any]) -> list[str]:
    aligned = row["alignment"]
    return [
        row["features"],
        f"{row['rank']:.1f}",
        str(row["highest_rank"]),
        f"{row['std']:.4f}",
        f"{row['even_std']:.4f}",
        f"{row['uniformity']:.3f}",
        "-" if aligned is None else f"{aligned:.3f}",
        row["verdict"] or "-",
    ]


def _summary(result: dict[str, Any], out: Path) -> str:
    named = [f"{r['features']}: {r['verdict']}" for r in result["rows"] if r["verdict"]]
    told = f"{', '.join(named)} (a heuristic)" if named else "no collapse found"
    if result["evaluate"] == "momentum":
        told = f"momentum network, {told}"
    return (
        f"{told}; {result['images']} images of {result['dataset']} "
        f"({result['seconds']:.0f} s) -> {out}"
    )


if __name__ == "__main__":
    main()
