# SPDX-License-Identifier: MIT
"""The detector's parts against what they are defined as, and the whole on tiny images."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from omegaconf import DictConfig
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import roi_align

from mixmask_solo.cli.compose import compose
from mixmask_solo.config import ConfigError, resolve_detect
from mixmask_solo.evaluation.detection.detector import Detector, build_detector
from mixmask_solo.evaluation.detection.heads import box_losses
from mixmask_solo.evaluation.detection.pooling import Pooling
from mixmask_solo.evaluation.detection.precise_bn import renew_statistics
from mixmask_solo.evaluation.detection.proposals import Anchors
from mixmask_solo.evaluation.detection.trunk import stride
from support.detection import detection_config

_NAMELESS = ["pretrained_feature_extractor=null"]
FPN = {"name": "fpn", "anchor_sizes": [8, 16, 32, 64, 128]}


def _cfg(**detector: Any) -> DictConfig:
    data = {"format": "voc", "train_path": "a", "val_path": "b", "mean": [0.5] * 3}
    data["std"] = [0.25] * 3
    return resolve_detect(detection_config(Path("x"), data, detector=detector))


def _detector(filters: Any = lambda module: None, **detector: Any) -> Detector:
    torch.manual_seed(0)
    backbone = timm.create_model("resnet10t", num_classes=0)
    return build_detector(backbone, _cfg(**detector), 2, filters)


def _batch(masks: bool = False) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 256, (3, h, w), generator=generator, dtype=torch.uint8)
        for h, w in ((48, 64), (64, 40))
    ]
    targets = []
    for image in images:
        box = torch.tensor([[4.0, 4.0, 30.0, 40.0]])
        target = {"boxes": box, "labels": torch.tensor([1])}
        if masks:
            mask = torch.zeros(1, *image.shape[1:], dtype=torch.uint8)
            mask[:, 4:40, 4:30] = 1
            target["masks"] = mask
        targets.append(target)
    return images, targets


@pytest.mark.parametrize("name", ["c4", "fpn"])
def test_boxes_keep_their_pixels_in_16_bits(name: str) -> None:
    """bfloat16 has steps of 8 pixels from 1,024 on."""
    detector = _detector(**(FPN if name == "fpn" else {}))
    seen: list[Any] = []
    chosen = detector.heads.select_training_samples

    def watch(proposals: Any, targets: Any) -> Any:
        found = chosen(proposals, targets)
        seen.extend([*found[0], *found[3]])
        return found

    detector.heads.select_training_samples = watch  # type: ignore[method-assign]
    images, targets = _batch()
    images[0] = torch.zeros(3, 48, 1100, dtype=torch.uint8)
    targets[0]["boxes"] = torch.tensor([[1003.0, 5.0, 1091.0, 41.0]])
    with torch.autocast("cpu", torch.bfloat16):
        detector(images, targets)
    assert all(x.dtype == torch.float32 for x in seen)
    assert (seen[0] == targets[0]["boxes"][0]).all(dim=1).any()  # the truth is a proposal, too
    detector.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = detector(images)
    assert all(one["boxes"].dtype == one["scores"].dtype == torch.float32 for one in found)


def test_double_precision() -> None:
    """As in the renewal of statistics, which no precision's context is around."""
    detector = _detector(mask=True).double()
    images, targets = _batch(masks=True)
    assert all(torch.isfinite(value) for value in detector(images, targets).values())
    with torch.no_grad():
        found = detector.eval()(images)
    assert all(torch.isfinite(one["masks"]).all() for one in found)


def test_new_layers_start_as_detectron2_s() -> None:
    """Biases 0; fully connected ones by Caffe2's Xavier, of variance 1 / inputs."""
    heads = _detector(mask=True, **FPN).heads
    assert heads.mask is not None
    biases = [p for k, p in heads.named_parameters() if k.endswith("bias")]
    assert len(biases) > 6
    assert not any(torch.count_nonzero(bias) for bias in biases)
    for layer in (heads.box_head.fc6, heads.box_head.fc7):
        variance = layer.weight.detach().var().item() * layer.in_features
        assert variance == pytest.approx(1, rel=0.02)


def test_fpn_by_an_override_is_the_fpn_of_the_recipe() -> None:
    of_c4 = compose("scripts/detect/coco", "c4", ["detector.name=fpn", *_NAMELESS])
    recipe = compose("scripts/detect/coco", "fpn", _NAMELESS)
    assert resolve_detect(of_c4) == resolve_detect(recipe)
    c4 = resolve_detect(compose("scripts/detect/coco", "c4", _NAMELESS))
    keys = ("pre_nms_train", "pre_nms_test", "post_nms_train", "pool")
    numbers = [[cfg.detector[key] for key in keys] for cfg in (c4, resolve_detect(recipe))]
    assert numbers == [[12000, 6000, 2000, 14], [2000, 1000, 1000, 7]]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"check_val_every_n_epoch": 3}, r"check_val_every_n_epoch is 3: there are 2 rounds of"),
        ({"overfit_batches": 2}, "overfit_batches"),
    ],
)
def test_what_would_leave_the_last_step_unmeasured_is_refused(
    more: dict[str, Any], said: str
) -> None:
    data = {"format": "voc", "train_path": "a", "val_path": "b"}
    with pytest.raises(ConfigError, match=said):
        resolve_detect(detection_config(Path("x"), data, **more), trainer_keys=["overfit_batches"])


def test_anchors_have_the_area_and_the_ratio_asked_for_and_are_not_rounded() -> None:
    anchors = Anchors(((32, 64),), ((0.5, 1.0, 2.0),))
    images = ImageList(torch.zeros(2, 3, 64, 96), [(64, 96), (50, 90)])
    found = anchors(images, [torch.zeros(2, 8, 4, 6)])
    assert len(found) == 2
    boxes = found[0].reshape(4, 6, 6, 4)
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    areas = (width * height)[0, 0]
    assert areas.tolist() == pytest.approx([1024, 4096] * 3, rel=1e-5)
    ratios = (height / width)[0, 0]
    assert ratios.tolist() == pytest.approx([0.5, 0.5, 1, 1, 2, 2], rel=1e-5)
    middle = (boxes[1, 2, 0, :2] + boxes[1, 2, 0, 2:]) / 2
    assert middle.tolist() == pytest.approx([32, 16])  # x, y of the third cell of the second row
    assert stride(96, 7) == 16  # a stem that pads too much


def test_losses_are_sums_over_what_is_sampled() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    deltas = torch.arange(36.0).reshape(3, 12) / 10
    labels, offsets = torch.tensor([0, 1, 2]), torch.ones(3, 4)
    losses = box_losses(logits, deltas, labels, offsets)
    own = torch.stack([deltas[1, 4:8], deltas[2, 8:12]])
    assert losses["box"] == pytest.approx((own - 1).abs().sum().item() / 3)
    assert losses["class"] == pytest.approx(F.cross_entropy(logits, labels).item())
    none = box_losses(logits, deltas, torch.zeros(3, dtype=torch.int64), offsets)
    assert none["box"] == 0


def test_the_rpn_s_losses_are_divided_by_the_anchors_to_be_sampled() -> None:
    rpn = _detector().proposals
    labels = [torch.tensor([1.0, 0.0, -1.0, 0.0])]  # fewer than the 16 asked for
    objectness, deltas = torch.tensor([[0.5], [-1.0], [9.0], [2.0]]), torch.ones(4, 4)
    targets = [torch.full((4, 4), 3.0)]
    objects, boxes = rpn.compute_loss(objectness, deltas, labels, targets)
    kept = torch.tensor([0, 1, 3])
    expected = F.binary_cross_entropy_with_logits(
        objectness[kept, 0], labels[0][kept], reduction="sum"
    )
    assert objects == pytest.approx(expected.item() / 16)
    assert boxes == pytest.approx(8 / 16)


def test_a_box_is_cut_out_of_the_level_of_its_size() -> None:
    maps = {f"layer{i + 1}": torch.randn(1, 2, 256 >> i, 256 >> i) for i in range(4)}
    boxes = torch.tensor([[0.0, 0, 60, 60], [10, 10, 122, 122], [0, 0, 224, 224], [0, 0, 900, 900]])
    found = Pooling(tuple(maps), 3)(maps, [boxes], (1024, 1024))
    for row, level in enumerate((0, 1, 2, 3)):
        expected = roi_align(
            maps[f"layer{level + 1}"],
            [boxes[row : row + 1]],
            3,
            spatial_scale=1 / 4 / 2**level,
            sampling_ratio=0,
            aligned=True,
        )
        assert torch.equal(found[row : row + 1], expected)


@pytest.mark.parametrize("mask", [False, True], ids=["boxes", "masks"])
@pytest.mark.parametrize("name", ["c4", "fpn"])
def test_losses_reach_every_weight_and_detections_lie_in_their_image(name: str, mask: bool) -> None:
    cfg = FPN if name == "fpn" else {}
    detector = _detector(mask=mask, score_threshold=0.0, **cfg)
    images, targets = _batch(mask)
    torch.manual_seed(0)
    losses = detector(images, targets)
    kinds = {"rpn_object", "rpn_box", "class", "box"} | ({"mask"} if mask else set())
    assert losses.keys() == kinds
    torch.stack([*losses.values()]).sum().backward()
    without = [n for n, p in detector.named_parameters() if p.grad is None]
    assert not without
    with torch.no_grad():
        found = detector.eval()(images)
    for image, one in zip(images, found, strict=True):
        height, width = image.shape[1:]
        assert 0 < len(one["boxes"]) <= 5
        assert one["boxes"].min() >= 0
        assert one["boxes"][:, 2].max() <= width
        assert one["boxes"][:, 3].max() <= height
        assert one["scores"].tolist() == sorted(one["scores"].tolist(), reverse=True)
        assert set(one["labels"].tolist()) <= {1, 2}
        if mask:  # res5 halves the 4 cells, the deconvolution doubles them; fpn: 14 doubled
            edge = 4 if name == "c4" else 28
            assert one["masks"].shape == (len(one["boxes"]), 1, edge, edge)


def test_c4_is_the_backbone_up_to_layer3_and_layer4_with_a_norm_as_the_head() -> None:
    backbone: Any = torchvision.models.resnet18()
    weights = copy.deepcopy(backbone.state_dict())
    detector: Any = build_detector(backbone, _cfg(), 20)
    for name in ("conv1.weight", "bn1.weight", "layer3.1.conv2.weight"):
        assert torch.equal(detector.trunk.state_dict()[name], weights[name])
    head = detector.heads.box_head
    assert torch.equal(head.res5.state_dict()["1.bn2.weight"], weights["layer4.1.bn2.weight"])
    assert isinstance(head.norm, nn.BatchNorm2d)
    assert head.norm.num_features == 512
    assert detector.heads.box_predictor.cls_score.out_features == 21
    deviation = detector.heads.box_predictor.bbox_pred.weight.detach().std()
    assert float(deviation) == pytest.approx(0.001, rel=0.1)
    assert all(p.requires_grad for p in detector.parameters())


def test_no_resnet_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes ResNets apart"):
        build_detector(torchvision.models.mobilenet_v3_small(), _cfg(), 2)


def test_a_filter_sees_normalised_images_without_padding() -> None:
    seen: list[Tensor] = []

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(args[0])
        return (args[0] * 0 + 7,)

    detector = _detector(lambda module: module.register_forward_pre_hook(hook))
    images, _ = _batch()
    batch = detector._padded(images)
    assert [tuple(x.shape) for x in seen] == [(1, 3, 48, 64), (1, 3, 64, 40)]
    assert torch.allclose(seen[0][0], (images[0] / 255 - 0.5) / 0.25)
    assert batch.tensors.shape == (2, 3, 64, 64)
    assert (batch.tensors[0, :, :48] == 7).all()
    assert (batch.tensors[0, :, 48:] == 0).all()
    assert batch.image_sizes == [(48, 64), (64, 40)]


def test_renewed_statistics_are_the_means_over_the_batches() -> None:
    detector = _detector()
    stem: Any = detector.trunk.conv1  # of three convolutions
    norm = stem[1]
    batches = [_batch(), (_batch()[0][:1], _batch()[1][:1])]
    state = torch.get_rng_state()
    renew_statistics(detector.eval(), batches, 0, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    assert not detector.training
    assert norm.momentum == 0.1
    with torch.no_grad():
        inputs = [stem[0](detector._padded(images).tensors) for images, _ in batches]
    mean = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
    variance = torch.stack([x.var((0, 2, 3)) for x in inputs]).mean(0)
    assert torch.allclose(norm.running_mean, mean, atol=1e-6)
    assert torch.allclose(norm.running_var, variance, rtol=1e-4)
    assert math.isfinite(float(detector.heads.box_head.norm.running_var.sum()))


def test_the_filter_of_a_pretraining_is_applied_by_itself() -> None:
    from mixmask_solo.methods import filter_inputs
    from mixmask_solo.strategies import stored_filter

    kwargs: dict[str, Any] = {"mscn": {}}
    detector = _detector(lambda m: filter_inputs(m, {"method_kwargs": kwargs}, ["mscn"]))
    expected = stored_filter(kwargs, ["mscn"])
    assert expected is not None
    images, _ = _batch()
    filtered = expected(((images[0] / 255 - 0.5) / 0.25)[None])
    batch = detector._padded(images)
    assert torch.allclose(batch.tensors[:1, :, :48, :64], filtered, atol=1e-6)
    plain = _detector()._padded(images)
    assert not torch.allclose(batch.tensors, plain.tensors, atol=0.1)
