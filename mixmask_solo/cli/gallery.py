# SPDX-License-Identifier: MIT
"""``mixmask-gallery``: a picture of what a configuration feeds the network."""

from pathlib import Path

from mixmask_solo.cli.compose import add_config_arguments, compose
from mixmask_solo.cli.ending import loading, one_line
from mixmask_solo.cli.parser import Parser
from mixmask_solo.config import ConfigError

COMMAND = "mixmask-gallery"
EPILOG = "Exit status: 0 done, 1 failed, 2 wrong input, 128 + signal."


def main() -> None:
    parser = Parser(prog=COMMAND, description=__doc__, epilog=EPILOG)
    add_config_arguments(parser)
    parser.add_argument("--out", default="gallery.png", type=Path, help="PNG to write")
    parser.add_argument("-n", default=8, type=int, help="images to show (default 8)")
    parser.add_argument(
        "--decoder",
        nargs="+",
        metavar="NAME",
        help="compare augmented views by decoder instead: pil, dali, resident, or all; dali and "
        "resident share their random numbers, pil draws others",
    )
    args = parser.parse_args()
    # what follows the names is theirs to argparse
    names = [word for word in args.decoder or () if not _is_override(word)]
    overrides = [*args.overrides, *(word for word in args.decoder or () if _is_override(word))]
    with one_line(COMMAND, args.out):
        if args.n < 1:
            raise ConfigError(f"-n is {args.n}: give at least 1 image")
        with loading(COMMAND):
            from mixmask_solo.report.decoders import compare
            from mixmask_solo.report.picture import picture
        cfg = compose(args.config_path, args.config_name, overrides)
        if args.decoder is None:
            picture(cfg, args.out, n=args.n)
        else:
            for name, why in compare(cfg, args.out, names, n=args.n).items():
                print(f"left out {name}: {why}")
        print(f"wrote {args.out}")


def _is_override(word: str) -> bool:
    return "=" in word or word.startswith("~")


if __name__ == "__main__":
    main()
