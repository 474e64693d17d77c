# SPDX-License-Identifier: MIT
"""``mixmask-solo``: a script of solo-learn's with our methods registered first."""

import runpy
import sys
from pathlib import Path

from mixmask_solo.cli.app import show_usage
from mixmask_solo.cli.ending import fail
from mixmask_solo.registration import register

USAGE = """
mixmask-solo SCRIPT [ARGUMENT ...]
mixmask-solo -m MODULE [ARGUMENT ...]

Runs a Python script or module after putting our methods into solo-learn's registry. Needed for
scripts that do not use Hydra; where Hydra runs, installing this package is enough.

  mixmask-solo main_knn.py --dataset cifar10 --pretrained_checkpoint_dir trained_models/mocov2/0 ...
  mixmask-solo -m pytest tests/methods
"""


def main() -> None:
    """Entry point; ends like the script, or with status 2 and one line where it cannot start."""
    arguments = sys.argv[1:]
    asked = arguments[:1] in (["-h"], ["--help"])
    if asked or arguments in ([], ["-m"]):
        show_usage("mixmask-solo", USAGE, asked=asked)
    module = arguments[0] == "-m"
    sys.argv = arguments[module:]
    script = Path(sys.argv[0])
    if not module and not script.is_file():
        fail("mixmask-solo", f"there is no script '{script}'")
    # As `python` itself would: what lies beside the script, or here, can be imported.
    sys.path.insert(0, "" if module else str(script.resolve().parent))
    try:
        register()
    except ImportError as error:
        fail("mixmask-solo", str(error))
    if module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
