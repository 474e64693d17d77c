# SPDX-License-Identifier: MIT
"""What commands that measure a checkpoint share: options of its network and of its images.

Options are named (``dest``) by the key of the configuration that they set.
"""

import argparse
import re
from typing import Any

from mixmask_solo.cli.parser import at_least


def add_network_and_images(parser: argparse.ArgumentParser) -> None:
    """Options that say whose features are taken, of which images, and where."""
    add = parser.add_argument
    help_ = "whose features: the network that was trained, or the one that follows it"
    add("--evaluate", choices=("online", "momentum"), default="online", help=help_)
    help_ = "default: that of the pretraining"
    add("--dataset", dest="data.dataset", metavar="DATASET", help=help_)
    add("--train_data_path", dest="data.train_path", metavar="DIR")
    add("--val_data_path", dest="data.val_path", metavar="DIR")
    add("--data_format", dest="data.format", metavar="NAME", help="as data.format")
    help_ = "of a Parquet file or CSV list"
    add("--image_column", dest="data.image_column", metavar="NAME", help=help_)
    add("--label_column", dest="data.label_column", metavar="NAME", help="likewise")
    add("--batch_size", dest="optimizer.batch_size", type=at_least(1), default=256, metavar="N")
    add("--num_workers", dest="data.num_workers", type=int, metavar="N")
    add("--backbone", dest="backbone.name", metavar="NAME", help="for files of mere weights")
    add("--device", default="auto", help="auto, cpu, cuda, ...")


def network_and_images(args: argparse.Namespace) -> dict[str, Any]:
    """What was given, as the evaluations take it: data, backbone, evaluate, batch_size, device."""
    given = vars(args).items()
    name = getattr(args, "backbone.name")
    return {
        "data": {k.removeprefix("data."): v for k, v in given if k.startswith("data.")},
        "backbone": {"name": name} if name else None,
        "evaluate": args.evaluate,
        "batch_size": getattr(args, "optimizer.batch_size"),
        "device": args.device,
    }


def as_options(message: str, parser: argparse.ArgumentParser) -> str:
    """An error line that names the command's options in the place of keys."""
    for action in parser._actions:
        if "." in action.dest:
            message = message.replace(action.dest, action.option_strings[0])
    return re.sub(r"(?<![\w.-])(?=(device|evaluate|feature_type)( is |=))", "--", message)
