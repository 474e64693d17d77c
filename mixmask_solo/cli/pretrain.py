# SPDX-License-Identifier: MIT
"""``mixmask-pretrain``: pretrain a ConvNet from a YAML file."""

from typing import Any

from mixmask_solo.cli.app import run_hydra, told_metrics
from mixmask_solo.cli.run_report import write_report

COMMAND = "mixmask-pretrain"
USAGE = """
mixmask-pretrain --config-path FOLDER --config-name FILE [key=value ...]

Pretrains BYOL, MoCo v2+, SimCLR or SimSiam, with MixMask where the YAML has the block
method_kwargs.mixmask. Works like solo-learn's main_pretrain.py and reads the same files.

  mixmask-pretrain --config-path scripts/pretrain/digits --config-name simclr_mixmask
  mixmask-pretrain --config-path scripts/pretrain/cifar --config-name mocov2plus_mixmask \\
      method_kwargs.mixmask.grid_size=4 data.train_path=./datasets

  --config-path FOLDER   relative to the current folder; scripts/README.md lists the files
  --config-name FILE     with or without .yaml
  key=value              override a key; +key=value adds one the file does not have
  --cfg job              print the composed configuration and stop
  -m, --multirun         a sweep, e.g. method_kwargs.mixmask.grid_size=2,4,8: one run after the
                         other whatever becomes of each, then a table of them all
"""
METRICS = [
    ("val_knn_acc1", "online k-NN", "{:.4g}%"),
    ("val_acc1", "online linear", "{:.4g}%"),
    ("train_embedding_std", "embedding std", "{:.4g}"),
]


def headline(result: dict[str, Any]) -> str:
    """A run in a few words."""
    rate = f"{result['images_per_second']:,.0f} images/s, {result['wall_seconds']:.0f} s"
    knn = [f"k-NN {result['knn']['acc1']:.4g}%"] if "knn" in result else []
    return ", ".join([*knn, *told_metrics(result, METRICS), rate])


def train(cfg: Any) -> dict[str, Any]:
    """A run, and with ``report: true`` a page of it."""
    from mixmask_solo.runs.pretrain import pretrain

    return pretrain(cfg, write_report)


def main() -> None:
    run_hydra(COMMAND, USAGE, "<method>", "mixmask_solo.cli.pretrain:train", headline)


if __name__ == "__main__":
    main()
