# SPDX-License-Identifier: MIT
"""``mixmask-linear``: probe or fine-tune a pretrained backbone."""

from typing import Any

from mixmask_solo.cli.app import run_hydra, told_metrics
from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.report.heads_table import chosen_head, heads_table

COMMAND = "mixmask-linear"
USAGE = """
mixmask-linear --config-path FOLDER --config-name FILE pretrained_feature_extractor=PATH [key=value]

Trains a linear classifier on a frozen, pretrained backbone, or with finetune=true both. Works like
solo-learn's main_linear.py and reads the same files; every weight of the backbone must fit.

  mixmask-linear --config-path scripts/linear/digits --config-name sgd \\
      pretrained_feature_extractor=trained_models/simclr/NAME/last.ckpt

  pretrained_feature_extractor   checkpoint of this package or of solo-learn, MoCo, lightly, DINO,
                                 a file of mere weights, or the folder of a run
  evaluate=momentum              probe the momentum network instead of the online one
  backbone                       may be left out where the checkpoint knows it
  probe.features=cached          features of un-augmented images, computed once
  probe.init=normal              classifier starts from N(0, 0.01^2), bias 0
  scheduler.name=exponential     from optimizer.lr to scheduler.min_lr, once an epoch
  optimizer.lr=[0.1,1,10]        so many heads on one forward pass, each as if it were alone; with
                                 lists of optimizer.weight_decay and ++probe.normalize=[false,true]
                                 all combinations. A table in the end; the best one is chosen on
                                 a tenth of the training images, which is held out
  ++probe.holdout=null           nothing is held out, and no head is called the best
  key=value                      override a key; +key=value adds one the file does not have
  --cfg job                      print the composed configuration and stop
  -m, --multirun                 a sweep, e.g. optimizer.lr=0.1,1,10: one run after the other
                                 whatever becomes of each, then a table of them all
"""
METRICS = [("val_acc1", "top-1", "{:.2f} %"), ("val_acc5", "top-5", "{:.2f} %")]
_PER_CLASS = ("val_mean_class_acc1", "mean per class", "{:.2f} %")


def told_accuracies(result: dict[str, Any]) -> list[str]:
    """The data set's own metric first, then the rest, and the best epoch's top-1."""
    info = DATASETS.get(str(result["config"]["data"]["dataset"]))
    own = [] if info is None or info.metric == "acc1" else [_PER_CLASS]
    shown = told_metrics(result, [*own, *METRICS])
    if "best_epoch" in result:
        best, epoch = result["best_val_acc1"], result["best_epoch"] + 1
        shown.append(f"best{' top-1' * bool(own)} {best:.2f} % in epoch {epoch}")
    return shown


def headline(result: dict[str, Any]) -> str:
    """A run in a few words."""
    shown = told_accuracies(result)
    if told := chosen_head(result):
        shown.append(told)
    kind = "fine-tuned" if result["config"]["finetune"] else "linear"
    line = ", ".join([*shown, f"{result['wall_seconds']:.0f} s"])
    return f"{kind} {line}"


def main() -> None:
    task = "mixmask_solo.runs.linear:linear"
    run_hydra(COMMAND, USAGE, "linear", task, headline, heads_table)


if __name__ == "__main__":
    main()
