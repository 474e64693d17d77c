# SPDX-License-Identifier: MIT
"""``make demo``: pretrain on scanned digits, then show what it was good for."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mixmask_solo.cli.advice import hydra_value
from mixmask_solo.cli.compose import add_config_arguments, compose
from mixmask_solo.cli.ending import loading, one_line
from mixmask_solo.cli.supervise import supervise

__all__ = ["main"]

COMMAND = "mixmask demo"
EPILOG = "Exit status: 0 done, 1 failed, 2 wrong input, 128 + signal interrupted."


def main() -> None:
    """Entry point of ``python -m mixmask_solo.cli.demo``."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__, epilog=EPILOG)
    add_config_arguments(parser, path="scripts/pretrain/digits", name="simclr_mixmask")
    parser.add_argument("--out", default="runs/demo", type=Path, help="folder for everything")
    args = parser.parse_args()

    folder = f"checkpoint.dir={hydra_value(str(args.out))}"
    with one_line(COMMAND, args.out):
        with loading(COMMAND):
            from mixmask_solo.cli.quiet import quiet
            from mixmask_solo.runs.pretrain import pretrain

            quiet()
        overrides = [folder, "auto_resume.enabled=true", *args.overrides]
        cfg = compose(args.config_path, args.config_name, overrides)
        result = supervise(
            COMMAND, lambda: pretrain(cfg), again="run the same command again", folder=args.out
        )
        report = _report(cfg, result, args.out)
    print(report)


def _report(cfg: Any, result: dict[str, Any], out: Path) -> str:
    from mixmask_solo.evaluation.run_knn import evaluate_knn
    from mixmask_solo.report.curves import curves
    from mixmask_solo.report.picture import picture
    from mixmask_solo.runs.metrics_csv import METRICS

    directory = Path(result["directory"])
    print("k-NN on the scans nobody trained on (cosine, k=20, T=0.07) ...", file=sys.stderr)
    knn = evaluate_knn(directory / "last.ckpt", baselines=True)
    pictures = [out / "mixed.png", out / "curves.png"]
    picture(cfg, pictures[0])
    curves(directory / METRICS, pictures[1])
    (out / "demo.json").write_text(json.dumps({"knn": knn, **result}, indent=2, default=str) + "\n")
    return (
        f"k-NN accuracy: trained {knn['trained']:.2f} %, untrained {knn['untrained']:.2f} %, "
        f"raw pixels {knn['pixels']:.2f} % ({result['wall_seconds']:.0f} s of training, "
        f"{result['images_per_second']:,.0f} images/s) -> {out}/mixed.png, {out}/curves.png"
    )


if __name__ == "__main__":
    main()
