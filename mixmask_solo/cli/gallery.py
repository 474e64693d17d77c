# SPDX-License-Identifier: MIT
"""``mixmask-gallery``: a picture of what a configuration feeds the network."""

from __future__ import annotations

import argparse
from pathlib import Path

from mixmask_solo.cli.app import fail
from mixmask_solo.cli.compose import add_config_arguments, compose

__all__ = ["main"]

COMMAND = "mixmask-gallery"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    add_config_arguments(parser)
    parser.add_argument("--out", default="gallery.png", type=Path, help="PNG to write")
    parser.add_argument("-n", default=8, type=int, help="images to show (default 8)")
    args = parser.parse_args()

    from mixmask_solo.config import ConfigError

    try:
        cfg = compose(args.config_path, args.config_name, args.overrides)
        from mixmask_solo.report.picture import picture

        print(f"wrote {picture(cfg, args.out, n=args.n)}")
    except ConfigError as error:
        fail(COMMAND, str(error))


if __name__ == "__main__":
    main()
