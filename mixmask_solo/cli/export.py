# SPDX-License-Identifier: MIT
"""``mixmask-export``: a pretrained network as torchvision, timm, Detectron2 and others read it."""

import argparse
import re
from typing import Any

from mixmask_solo.cli.ending import fail, loading, one_line
from mixmask_solo.cli.parser import Parser, at_least
from mixmask_solo.config import ConfigError
from mixmask_solo.export import TARGETS, WHICH

COMMAND = "mixmask-export"
EPILOG = """
  mixmask-export trained_models/mocov2plus/NAME --to torchvision

What was written is loaded again by the target's own library, where that is installed, and makes the
same features to 1e-5, or is not kept. docs/transfer.md has each target.
Exit status: 0 done, 1 failed, 2 wrong input, 128 + signal.
"""
_KEYS = ("to", "which", "out", "size", "no_filter")


def main() -> None:
    args = _parser().parse_args()
    with one_line(COMMAND, args.out):
        with loading(COMMAND):
            from mixmask_solo.export.write import ExportError, export
        keys = ("name", "stem", "stem_padding")
        try:
            done = export(
                args.checkpoint,
                args.to,
                args.which,
                out=args.out,
                force=args.force,
                backbone={key: getattr(args, f"backbone.{key}") for key in keys},
                size=args.size,
                filtered=not args.no_filter,
            )
        except ConfigError as error:
            fail(COMMAND, _as_options(str(error)))
        except ExportError as error:
            fail(COMMAND, str(error), 1)
    print("\n".join(_told(done, args)))


def _parser() -> Parser:
    parser = Parser(
        prog=COMMAND,
        description="Writes a pretrained network as another library reads it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a file, or the folder of a run")
    add("--to", required=True, choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    help_ = "online backbone (default), momentum backbone, or online backbone with head (projector)"
    add("--which", choices=WHICH, default="online", metavar="NETWORK", help=help_)
    add("--out", metavar="FILE", help="default: beside the checkpoint")
    add("--force", action="store_true", help="replace files that are there")
    help_ = "side of the images (onnx: of the graph's input); default: the pretraining's crop"
    add("--size", type=at_least(1), metavar="N", help=help_)
    help_ = "onnx: leave the pretraining's input filter out of the graph"
    add("--no-filter", action="store_true", help=help_)
    add("--backbone", dest="backbone.name", metavar="NAME", help="for files of mere weights")
    stems = ("imagenet", "cifar", "cifar_pool")
    add("--stem", dest="backbone.stem", choices=stems, help="likewise")
    add("--stem-padding", dest="backbone.stem_padding", type=at_least(0), metavar="N", help="too")
    return parser


def _as_options(message: str) -> str:
    """An error line that names this command's options in the place of keys."""
    message = message.replace("set evaluate=", "set --which=")
    for key, option in (("stem_padding", "stem-padding"), ("stem", "stem"), ("name", "backbone")):
        message = re.sub(rf"\bbackbone\.{key}\b", f"--{option}", message)
    for key in _KEYS:
        message = re.sub(rf"^{key}(?= is |:)", f"--{key.replace('_', '-')}", message)
    return message


def _told(done: Any, args: argparse.Namespace) -> list[str]:
    source, (file, *others) = done.source, done.files
    lines = [f"  {line}" for line in done.lines]
    if filters := source.facts["input_filter"]:
        lines += ["", *_filter(filters, inside=args.to == "onnx" and not args.no_filter)]
    if source.facts["mean"] is None:
        lines += ["", "the checkpoint does not tell the mean and std of its images"]
    if others:
        lines += ["", f"beside it: {', '.join(path.name for path in others)}"]
    unseen = f"; {done.loaded.unseen}" if done.loaded.unseen else ""
    what = {"online": "", "momentum": ", momentum network", "head": " with projector"}[args.which]
    last = (
        f"{source.name}{what} -> {file} (loaded with {done.loaded.by}, largest difference "
        f"{done.difference:.1e} of the largest output{unseen})"
    )
    return [*lines, "", last]


def _filter(filters: list[dict[str, Any]], *, inside: bool) -> list[str]:
    said = ", then ".join(
        " ".join([f["name"], *(f"{k} {v}" for k, v in f.items() if k != "name")]) for f in filters
    )
    if inside:
        return [f"the graph begins with the pretraining's input filter: {said}"]
    if any(f["name"] != "high_pass" for f in filters):  # of a strategy of another package
        return [f"normalised images must pass the pretraining's input filter first: {said}"]
    calls = "images"
    for f in filters:
        numbers = "".join(f", {k}={v!r}" for k, v in f.items() if k != "name")
        calls = f"{f['name']}({calls}{numbers})"
    return [
        f"normalised images must pass the pretraining's input filter first: {said}",
        "  from mixmask_solo.fills import high_pass",
        f"  images = {calls}",
    ]


if __name__ == "__main__":
    main()
