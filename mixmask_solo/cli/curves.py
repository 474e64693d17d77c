# SPDX-License-Identifier: MIT
"""``mixmask-curves``: a picture of what runs have measured, one run or several over each other."""

from pathlib import Path

from mixmask_solo.cli.ending import loading, one_line
from mixmask_solo.cli.parser import Parser
from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.record import METRICS

COMMAND = "mixmask-curves"
EPILOG = "Exit status: 0 done, 1 failed, 2 wrong input, 128 + signal."


def main() -> None:
    parser = Parser(prog=COMMAND, description=__doc__, epilog=EPILOG)
    help_ = "folder of a run, running or ended, or a metrics.csv"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=help_)
    help_ = "picture to write, its ending says the format (default curves.png)"
    parser.add_argument("--out", default="curves.png", type=Path, help=help_)
    args = parser.parse_args()
    with one_line(COMMAND, args.out):
        # first what needs no library that takes seconds to load
        files = {_name(run): _file(run, METRICS) for run in args.runs}
        if len(files) < len(args.runs):
            raise ConfigError("two of the runs have the same name: give each run once")
        with loading(COMMAND):
            from mixmask_solo.report.curves import curves
        args.out.parent.mkdir(parents=True, exist_ok=True)
        try:
            curves(files, args.out)
        except (ValueError, KeyError) as error:
            raise ConfigError(str(error)) from error
        print(f"wrote {args.out}")


def _name(run: Path) -> str:
    folder = run if run.is_dir() else run.parent
    return folder.absolute().name


def _file(run: Path, name: str) -> Path:
    file = run / name if run.is_dir() else run
    if file.is_file():
        return file
    inner = sorted(run.glob(f"*/{name}")) + sorted(run.glob(f"*/*/{name}"))
    if inner:
        raise ConfigError(f"{run} is no run, it holds {len(inner)}: give {inner[0].parent}, ...")
    raise ConfigError(f"{run}: there is no {name}; give the folder of a run")


if __name__ == "__main__":
    main()
