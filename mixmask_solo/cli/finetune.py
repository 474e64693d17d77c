# SPDX-License-Identifier: MIT
"""``mixmask-finetune``: train a pretrained network on labels, or the same one from scratch."""

from typing import Any

from mixmask_solo.cli.app import run_hydra
from mixmask_solo.cli.linear import told_accuracies

COMMAND = "mixmask-finetune"
USAGE = """
mixmask-finetune --config-path FOLDER --config-name FILE pretrained_feature_extractor=PATH \\
    [key=value]

Trains a pretrained backbone together with a new classifier, each at its own rate, on all or few
labels. Filters of the pretraining's inputs (MSCN, saliency) apply here too.

  mixmask-finetune --config-path scripts/finetune/digits --config-name sgd \\
      pretrained_feature_extractor=trained_models/simclr/NAME/last.ckpt data.fraction=0.1

  pretrained_feature_extractor   checkpoint of this package or of solo-learn, MoCo, lightly, DINO,
                                 a file of mere weights, or the folder of a run; null trains the
                                 network of backbone.name from scratch, as a baseline
  evaluate=momentum              start from the momentum network instead of the online one
  optimizer.lr=0.002             the backbone's rate, per 256 images of the global batch
  optimizer.classifier_lr=0.5    the classifier's
  data.labels=1percent           the labels of SimCLR's list for ImageNet; also 10percent, or a text
                                 file that names images, one a line (100percent: all)
  data.fraction=0.1              of each class that share, at least one image, drawn by seed
  key=value                      override a key; +key=value adds one the file does not have
  --cfg job                      print the composed configuration and stop
  -m, --multirun                 a sweep, e.g. seed=0,1,2: one run after the other whatever becomes
                                 of each, then a table of them all
"""


def headline(result: dict[str, Any]) -> str:
    """A run in a few words."""
    shown = told_accuracies(result)
    scratch = result["config"]["pretrained_feature_extractor"] is None
    line = ", ".join([*shown, f"{result['wall_seconds']:.0f} s"])
    return f"{'from scratch' if scratch else 'fine-tuned'} {line}"


def main() -> None:
    run_hydra(COMMAND, USAGE, "finetune", "mixmask_solo.runs.finetune:finetune", headline)


if __name__ == "__main__":
    main()
