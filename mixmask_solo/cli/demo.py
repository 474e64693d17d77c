# SPDX-License-Identifier: MIT
"""``make demo``: pretrain on scanned digits, then show what it was good for."""

import sys
from pathlib import Path

from mixmask_solo.cli.compose import add_config_arguments, compose, hydra_value
from mixmask_solo.cli.ending import loading, one_line, supervise
from mixmask_solo.cli.parser import Parser

COMMAND = "mixmask demo"
EPILOG = "Exit status: 0 done, 1 failed, 2 wrong input, 128 + signal interrupted."


def main() -> None:
    parser = Parser(prog=COMMAND, description=__doc__, epilog=EPILOG)
    add_config_arguments(parser, path="scripts/pretrain/digits", name="simclr_mixmask")
    parser.add_argument("--out", default="runs/demo", type=Path, help="folder for everything")
    args = parser.parse_args()
    out = args.out
    with one_line(COMMAND, out):
        with loading(COMMAND):
            from mixmask_solo.config.files import write_json
            from mixmask_solo.evaluation.run_knn import evaluate_knn
            from mixmask_solo.records.registry.record import METRICS
            from mixmask_solo.report.curves import curves
            from mixmask_solo.report.picture import picture
            from mixmask_solo.runs.pretrain import pretrain
        folder = f"checkpoint.dir={hydra_value(str(out))}"
        overrides = [folder, "auto_resume.enabled=true", "++knn_eval.final=false", *args.overrides]
        cfg = compose(args.config_path, args.config_name, overrides)
        again = "run the same command again"
        result = supervise(COMMAND, lambda: pretrain(cfg), again=again, folder=out)
        directory = Path(result["directory"])
        print("k-NN on the scans nobody trained on (cosine, k=20, T=0.07) ...", file=sys.stderr)
        knn = evaluate_knn(directory / "last.ckpt", baselines=True)
        picture(cfg, out / "mixed.png")
        curves({directory.name: directory / METRICS}, out / "curves.png")
        write_json(out / "demo.json", {**result, "knn": knn})
    print(
        f"k-NN accuracy: trained {knn['trained']:.2f} %, untrained {knn['untrained']:.2f} %, "
        f"raw pixels {knn['pixels']:.2f} % ({result['wall_seconds']:.0f} s of training, "
        f"{result['images_per_second']:,.0f} images/s) -> {out}/mixed.png, {out}/curves.png"
    )


if __name__ == "__main__":
    main()
