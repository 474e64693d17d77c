# SPDX-License-Identifier: MIT
"""``mixmask-knn``: k-NN accuracy of a checkpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mixmask_solo.cli.ending import fail, loading, one_line
from mixmask_solo.cli.table import table

__all__ = ["main"]

COMMAND = "mixmask-knn"
EPILOG = """
Everything that is not given comes from the run itself (its checkpoint or args.json), so that

  mixmask-knn --pretrained_checkpoint_dir trained_models/simclr/NAME

is enough. Without --k, --temperature, --feature_type and --distance_function two protocols run:
solo-learn's (backbone, cosine, k 20, T 0.07), and MoCo's (projector, cosine, k 200, T 0.1).
Otherwise all combinations of these four do.
Exit status: 0 done, 1 failed, 2 wrong input, 130 Ctrl-C.
"""
# Configuration keys in error lines, and the option that sets each of them here.
_OPTIONS = {
    "data.dataset": "--dataset",
    "data.train_path": "--train_data_path",
    "data.val_path": "--val_data_path",
    "data.format": "--data_format",
    "data.image_column": "--image_column",
    "data.label_column": "--label_column",
    "data.num_workers": "--num_workers",
    "backbone.name": "--backbone",
    "feature_type is": "--feature_type is",
    "evaluate is": "--evaluate is",
    "evaluate=": "--evaluate=",
    "device is": "--device is",
    "optimizer.batch_size": "--batch_size",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        fail(COMMAND, f"{message} (see --help)")


def main() -> None:
    """Entry point."""
    args = _parse(sys.argv[1:])

    with one_line(COMMAND, args.out):
        result = _evaluate(args)
        out = args.out or Path(result["checkpoint"]).parent / "knn.json"
        _write(out, result)
    print(_table(result["rows"]))
    print(_summary(result, out))


def _evaluate(args: argparse.Namespace) -> dict[str, Any]:
    with loading(COMMAND):
        from mixmask_solo.cli.quiet import quiet
        from mixmask_solo.config import ConfigError
        from mixmask_solo.evaluation.run_knn import evaluate_knn

        quiet()
    try:
        return evaluate_knn(
            args.pretrained_checkpoint or args.pretrained_checkpoint_dir,
            protocols=_protocols(args),
            baselines=args.baselines,
            data=_data(args),
            backbone={"name": args.backbone} if args.backbone else None,
            evaluate=args.evaluate,
            batch_size=args.batch_size,
            device=args.device,
            bank_dtype=args.bank_dtype,
            bank_device=args.bank_device,
            watch=_watch,
        )
    except ConfigError as error:
        fail(COMMAND, _as_options(str(error)))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog=COMMAND,
        description="Weighted k-NN on the features of a pretrained network.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pretrained_checkpoint_dir", metavar="DIR", help="folder of a run")
    source.add_argument("--pretrained_checkpoint", metavar="FILE", help="one checkpoint")
    parser.add_argument("--k", type=_count, nargs="+", metavar="K", help="neighbours")
    parser.add_argument("--temperature", type=_positive, nargs="+", metavar="T", help="of votes")
    parser.add_argument("--feature_type", nargs="+", choices=("backbone", "projector"))
    parser.add_argument(
        "--evaluate",
        choices=("online", "momentum"),
        default="online",
        help="whose features: the network that was trained, or the one that follows it",
    )
    parser.add_argument("--distance_function", nargs="+", choices=("cosine", "euclidean"))
    parser.add_argument("--dataset", help="default: that of the pretraining")
    parser.add_argument("--train_data_path", metavar="DIR")
    parser.add_argument("--val_data_path", metavar="DIR")
    parser.add_argument("--data_format", metavar="NAME", help="as data.format")
    parser.add_argument("--image_column", metavar="NAME", help="of a Parquet file or CSV list")
    parser.add_argument("--label_column", metavar="NAME", help="likewise")
    parser.add_argument("--batch_size", type=_count, default=256)
    parser.add_argument("--num_workers", type=int)
    parser.add_argument("--backbone", metavar="NAME", help="for files of mere weights")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument(
        "--bank_dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="of the training images' features; half precision takes half the memory",
    )
    parser.add_argument(
        "--bank_device",
        choices=("device", "cpu"),
        default="device",
        help="where they lie: with the network, or in the memory of the host",
    )
    parser.add_argument(
        "--baselines", action="store_true", help="also the untrained network, and raw pixels"
    )
    parser.add_argument("--out", type=Path, help="default: knn.json beside the checkpoint")
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        from mixmask_solo.config.errors import did_you_mean

        options = [o for a in parser._actions for o in a.option_strings]
        parser.error(f"unknown argument {unknown[0]}{did_you_mean(unknown[0], options)}")
    return args


def _count(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _protocols(args: argparse.Namespace) -> list[Any] | None:
    given = (args.k, args.temperature, args.feature_type, args.distance_function)
    if not any(given):
        return None
    from mixmask_solo.evaluation.run_knn import SOLO_LEARN, Protocol

    return [
        Protocol(
            features,
            distance,
            tuple(dict.fromkeys(args.k or SOLO_LEARN.k)),
            tuple(dict.fromkeys(args.temperature or SOLO_LEARN.temperature)),
        )
        for features in dict.fromkeys(args.feature_type or [SOLO_LEARN.features])
        for distance in dict.fromkeys(args.distance_function or [SOLO_LEARN.distance])
    ]


def _data(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "dataset": args.dataset,
        "train_path": args.train_data_path,
        "val_path": args.val_data_path,
        "format": args.data_format,
        "image_column": args.image_column,
        "label_column": args.label_column,
        "num_workers": args.num_workers,
    }


def _watch(loader: Iterable[Any]) -> Iterable[Any]:
    """A bar on stderr while features are taken, in a terminal only."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        return loader
    return track(loader, description="features", console=console, transient=True)


def _as_options(message: str) -> str:
    for key, option in _OPTIONS.items():
        message = message.replace(key, option)
    return message


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [("network", "features", "distance", "k", "T", "top-1 %", "top-5 %")]
    for r in rows:
        temperature = "-" if r["temperature"] is None else f"{r['temperature']:g}"
        accuracies = f"{r['acc1']:.2f}", f"{r['acc5']:.2f}"
        head = r["network"], r["features"], r["distance"], str(r["k"])
        lines.append((*head, temperature, *accuracies))
    return table(lines, right=(3, 4, 5, 6))


def _summary(result: dict[str, Any], out: Path) -> str:
    first = result["rows"][0]
    of = f"{first['features']}, {first['distance']}, k {first['k']}"
    if result["evaluate"] == "momentum":
        of = f"momentum network, {of}"
    others = "".join(f", {n} {result[n]:.2f} %" for n in ("untrained", "pixels") if n in result)
    return (
        f"k-NN {result['trained']:.2f} % ({of}){others} on {result['test_images']} images "
        f"of {result['dataset']} ({result['seconds']:.0f} s) -> {out}"
    )


def _write(out: Path, result: dict[str, Any]) -> None:
    from mixmask_solo.records.files import write_json

    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, result)


if __name__ == "__main__":
    main()
