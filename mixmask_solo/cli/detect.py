# SPDX-License-Identifier: MIT
"""``mixmask-detect``: fine-tune Faster or Mask R-CNN on a pretrained backbone."""

import logging
from pathlib import Path
from typing import Any

from mixmask_solo.cli.app import run_hydra, told_metrics

log = logging.getLogger(__name__)
COMMAND = "mixmask-detect"
USAGE = """
mixmask-detect --config-path FOLDER --config-name FILE pretrained_feature_extractor=PATH [key=value]

Fine-tunes Faster R-CNN, with detector.mask=true Mask R-CNN, on a pretrained ResNet: R50-C4 as
the papers' Detectron2 files have it, or a feature pyramid. Reads Pascal VOC's layout and COCO's
JSON, measures COCO's AP, on VOC's layout Pascal VOC's too. Needs pip install '.[detection]'.

  mixmask-detect --config-path scripts/detect/voc --config-name c4 \\
      pretrained_feature_extractor=trained_models/mocov2/NAME/last.ckpt \\
      data.train_path=[VOCdevkit/VOC2007,VOCdevkit/VOC2012] data.val_path=VOCdevkit/VOC2007

  pretrained_feature_extractor   checkpoint of this package or of solo-learn, MoCo, lightly, DINO,
                                 a file of mere weights, or the folder of a run; null starts from
                                 random weights of the backbone named
  detector.name=fpn              a feature pyramid instead of C4
  max_steps, eval_every          of the optimiser; milestones are steps, too
  accumulate_grad_batches=4      batches a step: 16 images are batch_size x devices x this
  pictures=8                     validation images in detections.png, beside the truth
  key=value                      override a key; +key=value adds one the file does not have
  --cfg job                      print the composed configuration and stop
  -m, --multirun                 a sweep: one run after the other, then a table of them all
"""
METRICS = [
    ("val_box_ap", "box AP", "{:.1f}"),
    ("val_box_ap50", "AP50", "{:.1f}"),
    ("val_box_ap75", "AP75", "{:.1f}"),
    ("val_mask_ap", "mask AP", "{:.1f}"),
    ("val_mask_ap50", "AP50", "{:.1f}"),
    ("val_voc_ap", "VOC AP", "{:.1f}"),
    ("val_voc_ap50", "AP50", "{:.1f}"),
]


def headline(result: dict[str, Any]) -> str:
    """A run in a few words."""
    told = told_metrics(result, METRICS)
    seen = int((result.get("metrics") or {}).get("val_images") or 0)
    there = int(((result.get("data") or {}).get("val") or {}).get("images") or 0)
    if told and seen != there:
        told.append(f"of {seen} of {there} images")
    if not told:
        told.append("nothing measured (limit_val_batches is 0)")
    return ", ".join([*told, f"{result['wall_seconds']:.0f} s"])


def train(cfg: Any) -> dict[str, Any]:
    """A run, and a picture of what it found."""
    from mixmask_solo.runs.detect import detect

    result = detect(cfg)
    if "directory" in result and result.get("status") == "completed":
        _draw(Path(result["directory"]))
    return result


def _draw(folder: Path) -> None:
    """Whatever goes wrong is a warning: the run has its result."""
    from mixmask_solo.report.detections import PICTURE, draw_detections
    from mixmask_solo.runs.detect import DETECTIONS

    file, picture = folder / DETECTIONS, folder / PICTURE
    if not file.is_file():
        return
    if picture.is_file() and picture.stat().st_mtime_ns >= file.stat().st_mtime_ns:
        return
    try:
        draw_detections(file)
    except Exception as error:
        told = " ".join(str(error).split()) or type(error).__name__
        log.warning("%s was not drawn: %s", picture, told)


def main() -> None:
    run_hydra(COMMAND, USAGE, "detect", "mixmask_solo.cli.detect:train", headline)


if __name__ == "__main__":
    main()
