# SPDX-License-Identifier: MIT
"""``mixmask-knn``: k-NN accuracy of a checkpoint."""

import argparse
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from mixmask_solo.cli.ending import fail, loading, one_line
from mixmask_solo.cli.evaluated import add_network_and_images, as_options, network_and_images
from mixmask_solo.cli.parser import Parser, at_least
from mixmask_solo.config import ConfigError
from mixmask_solo.report import columns

COMMAND = "mixmask-knn"
EPILOG = """
Everything that is not given comes from the run itself (its checkpoint or args.json), so that

  mixmask-knn --pretrained_checkpoint_dir trained_models/simclr/NAME

is enough. Without --k, --temperature, --feature_type and --distance_function two protocols run:
solo-learn's (backbone, cosine, k 20, T 0.07), and MoCo's (projector, cosine, k 200, T 0.1).
Otherwise all combinations of these four do.
Exit status: 0 done, 1 failed, 2 wrong input, 128 + signal.
"""
_HEAD = ("network", "features", "distance", "k", "T", "top-1 %", "top-5 %")


def main() -> None:
    args = _parser().parse_args()
    if args.out is not None and args.out.is_dir():
        fail(COMMAND, f"--out is {args.out}: a folder is there, give the name of a file")
    with one_line(COMMAND, args.out):
        with loading(COMMAND):
            from mixmask_solo.config.files import write_json
            from mixmask_solo.evaluation.knn_record import record_knn
            from mixmask_solo.evaluation.run_knn import evaluate_knn
            from mixmask_solo.screen import track
        try:
            result = evaluate_knn(
                args.pretrained_checkpoint or args.pretrained_checkpoint_dir,
                protocols=_protocols(args),
                baselines=args.baselines,
                **network_and_images(args),
                bank_dtype=args.bank_dtype,
                bank_device=args.bank_device,
                watch=partial(track, label="features"),
            )
        except ConfigError as error:
            fail(COMMAND, as_options(str(error), _parser()))
        out = args.out or Path(result["checkpoint"]).parent / "knn.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, result)
        record_knn(result)
    print(columns([_HEAD, *map(_cells, result["rows"])], right=(3, 4, 5, 6)))
    print(_summary(result, out))


def _parser() -> Parser:
    """Options are named (``dest``) by the key of the configuration, or protocol, that they set."""
    parser = Parser(
        prog=COMMAND,
        description="Weighted k-NN on the features of a pretrained network.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pretrained_checkpoint_dir", metavar="DIR", help="folder of a run")
    source.add_argument("--pretrained_checkpoint", metavar="FILE", help="one checkpoint")
    add = parser.add_argument
    add("--k", type=at_least(1), nargs="+", metavar="K", help="neighbours")
    add("--temperature", type=_positive, nargs="+", metavar="T", help="of votes")
    add("--feature_type", dest="features", nargs="+", choices=("backbone", "projector"))
    add("--distance_function", dest="distance", nargs="+", choices=("cosine", "euclidean"))
    add_network_and_images(parser)
    help_ = "of the training images' features; half precision takes half the memory"
    kinds = ("float32", "float16", "bfloat16")
    add("--bank_dtype", choices=kinds, default=kinds[0], help=help_)
    help_ = "where they lie: with the network, or in the memory of the host"
    add("--bank_device", choices=("device", "cpu"), default="device", help=help_)
    add("--baselines", action="store_true", help="also the untrained network, and raw pixels")
    add("--out", type=Path, help="default: knn.json beside the checkpoint")
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _protocols(args: argparse.Namespace) -> list[Any] | None:
    from mixmask_solo.evaluation.run_knn import SOLO_LEARN, Protocol

    given = {key: getattr(args, key) for key in Protocol._fields}
    chosen: Any = {key: tuple(dict.fromkeys(values)) for key, values in given.items() if values}
    if not chosen:
        return None
    features = chosen.pop("features", [SOLO_LEARN.features])
    distances = chosen.pop("distance", [SOLO_LEARN.distance])
    return [Protocol(*pair, **chosen) for pair in product(features, distances)]


def _cells(row: dict[str, Any]) -> list[str]:
    temperature = "-" if row["temperature"] is None else f"{row['temperature']:g}"
    how = [row["network"], row["features"], row["distance"], str(row["k"]), temperature]
    return [*how, f"{row['acc1']:.2f}", f"{row['acc5']:.2f}"]


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


if __name__ == "__main__":
    main()
