# SPDX-License-Identifier: MIT
"""``mixmask-data``: look through a data set, store it in another way, time its decoders."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mixmask_solo.cli.compose import add_config_arguments, compose
from mixmask_solo.cli.ending import fail, loading, one_line
from mixmask_solo.cli.parser import Parser, at_least
from mixmask_solo.config import ConfigError

COMMAND = "mixmask-data"
_LOOK = "read every image, list what is wrong or odd"
_STORE = "folders to shards and back, bytes unchanged"
_TIME = "images/s of each decoder, and what the network needs"
_PATH = "folder, shards, or a list of files"
_STORAGE = "how it is stored (parquet, ...), where what lies there does not tell"
EPILOG = """
  mixmask-data check ./imagenet
  mixmask-data convert ./imagenet ./imagenet-parquet --to parquet --shuffle 0
  mixmask-data bench --config-path scripts/pretrain/imagenet --config-name mocov2plus_mixmask \\
      data.train_path=./imagenet/train

Exit status: 0 fine, 1 damaged images found (check) or failed, 2 wrong input, 128 + signal.
"""


def main() -> None:
    """Entry point."""
    args = _parse(sys.argv[1:])
    with one_line(f"{COMMAND} {args.command}", getattr(args, "destination", None)):
        raise SystemExit(args.run(args))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    about = "Look through a data set, store it in another way, time its decoders."
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog=COMMAND, description=about, epilog=EPILOG, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="check|convert|bench")

    stored = Parser(add_help=False)  # what lies at a path, for check and convert
    stored.add_argument("--storage", default="auto", metavar="NAME", help=_STORAGE)
    stored.add_argument("--image-column", metavar="NAME", help="of a Parquet file or CSV list")
    stored.add_argument("--label-column", metavar="NAME", help="likewise")
    stored.add_argument("--no-labels", action="store_true", help="folders without classes")

    look = commands.add_parser("check", help=_LOOK, parents=[stored])
    look.add_argument("paths", nargs="*", metavar="PATH", help=_PATH)
    look.add_argument("--config-path", metavar="FOLDER", help="instead of PATH: a configuration")
    look.add_argument("--config-name", metavar="FILE")
    look.add_argument("--workers", type=at_least(0), metavar="N", help="default: all cores")
    look.add_argument("--json", type=Path, metavar="FILE", help="write everything found there")
    look.set_defaults(run=_check)

    store = commands.add_parser("convert", help=_STORE, parents=[stored])
    store.add_argument("source", metavar="SRC", help=_PATH)
    store.add_argument("destination", metavar="DST", type=Path, help="new or empty folder")
    store.add_argument("--to", required=True, metavar="parquet|webdataset|image_folder")
    store.add_argument("--shuffle", type=at_least(0), metavar="SEED", help="in a random order")
    store.add_argument("--max-shard-mb", type=at_least(1), default=500, metavar="MB")
    store.set_defaults(run=_convert)

    time = commands.add_parser("bench", help=_TIME)
    add_config_arguments(time)
    time.add_argument("--decoders", nargs="+", metavar="NAME", help="default: all there are")
    time.add_argument("--need", type=float, metavar="N", help="images/s; default: measured")
    time.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    time.add_argument("--repeats", type=at_least(1), default=5, help="of each (default 5)")
    time.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there")
    time.set_defaults(run=_bench)
    return parser.parse_args(arguments)


def _how(args: argparse.Namespace) -> dict[str, Any]:
    keys = ("no_labels", "storage", "image_column", "label_column")
    return {key: getattr(args, key) for key in keys}


def _check(args: argparse.Namespace) -> int:
    if bool(args.paths) == bool(args.config_name):
        fail(f"{COMMAND} check", "give either PATH or --config-path and --config-name (see --help)")
    for path in args.paths:
        _require(path)
    with loading(f"{COMMAND} check"):
        from mixmask_solo.data.order.workers import core_share
        from mixmask_solo.data.tools import check, open_config, open_path
        from mixmask_solo.report.data import check_text
    if args.paths:
        sets = {path: open_path(path, **_how(args)) for path in args.paths}
    else:
        cfg = compose(args.config_path or ".", args.config_name)
        sets = {args.config_name: open_config(cfg)}
    workers = core_share() if args.workers is None else args.workers
    reports = {}
    with _bar("reading", sum(len(s) for splits in sets.values() for s in splits.values())) as bar:
        for name, splits in sets.items():
            reports[name] = check(splits, workers=workers, advance=bar)
    if args.json:
        _write(args.json, {name: report.as_dict() for name, report in reports.items()})
    for name, report in reports.items():
        print(check_text(name, report))
    return 1 if any(report.damaged for report in reports.values()) else 0


def _require(path: str) -> None:
    """Refuses a path that leads nowhere before anything is loaded, unless it is a pattern."""
    if not set(path) & set("*?[{") and not Path(path).expanduser().exists():
        raise ConfigError(f"the path is '{path}': no such file or folder; give a {_PATH}")


def _convert(args: argparse.Namespace) -> int:
    _require(args.source)
    with loading(f"{COMMAND} convert"):
        from mixmask_solo.data.tools import convert, open_path
    splits = open_path(args.source, **_how(args))
    with _bar("writing", sum(len(source) for source in splits.values())) as bar:
        size, seed = args.max_shard_mb, args.shuffle
        done = convert(splits, args.destination, args.to, max_shard_mb=size, seed=seed, advance=bar)
    kept = f", {done.kept:,} images were there already" if done.kept else ""
    print(f"{done.images:,} images -> {args.destination} ({done.files:,} files written{kept})")
    return 0


def _bench(args: argparse.Namespace) -> int:
    with loading(f"{COMMAND} bench"):
        from mixmask_solo.bench.data_bench import bench
        from mixmask_solo.report.data import bench_text
    cfg = compose(args.config_path, args.config_name, args.overrides)
    result = bench(
        cfg, decoders=args.decoders, need=args.need, seconds=args.seconds, repeats=args.repeats
    )
    if args.json:
        _write(args.json, result.as_dict())
    print(bench_text(result))
    return 0


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Takes how many more are done."""
    from mixmask_solo import screen

    with screen.task(what, total) as shown:

        def advance(count: int) -> None:
            shown.done += count

        yield advance


def _write(place: Path, content: Any) -> None:
    from mixmask_solo.config.files import write_json

    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, content)


if __name__ == "__main__":
    main()
