# SPDX-License-Identifier: MIT
"""Representation health of a checkpoint: of its features, and of pairs of augmented views."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.data import ImageData, build_pretrain
from mixmask_solo.evaluation.features import extract, features_of
from mixmask_solo.evaluation.health import alignment, embedding_std, rankme, uniformity, verdict
from mixmask_solo.evaluation.network import load_network, why_no_projector
from mixmask_solo.evaluation.run_knn import evaluation_data, network_device
from mixmask_solo.records.checkpoints import checksum
from mixmask_solo.records.pretrained import Pretrained, find_checkpoint, read_pretrained
from mixmask_solo.records.result import damage, versions

MOST = 25_600  # images of which rank and uniformity are measured: as many as RankMe's authors take

Watch = Callable[[Iterable[Any]], Iterable[Any]]


def evaluate_health(
    checkpoint: str | Path,
    *,
    data: Mapping[str, Any] | None = None,
    backbone: Mapping[str, Any] | None = None,
    evaluate: str = "online",
    batch_size: int = 256,
    device: str = "auto",
    watch: Watch = iter,
) -> dict[str, Any]:
    """Measures backbone features and, where the checkpoint has a projector, its output z.

    Spread, rank and uniformity are of un-augmented validation images, alignment is of two views of
    each, augmented as in the pretraining; the network is in evaluation mode for both.

    Args:
        checkpoint: file, or folder of a run.
        data: see :func:`evaluation_data`.
        backbone: keys of the block, where nothing beside the weights tells them.
        evaluate: whose features, the ``online`` or the ``momentum`` network's.
        batch_size: images that pass the network at once.
        device: ``auto``, ``cpu``, ``cuda``, ...
        watch: wraps each loader, for a progress bar.

    Returns:
        The content of ``health.json``: docs/health.md lists it.
    """
    start = time.perf_counter()
    file = find_checkpoint(checkpoint)
    crc = checksum(file) if file.is_file() else 0  # ahead of reading: a run may replace it
    pretrained = read_pretrained(checkpoint, evaluate)
    projector = not why_no_projector(pretrained)
    kinds = ("backbone", "projector") if projector else ("backbone",)
    images = evaluation_data(pretrained, data or {}, batch_size)
    where = images.network_device = network_device(device)
    dataset = images.block["dataset"]
    network = load_network(pretrained, projector=projector, backbone=backbone, dataset=dataset)
    loader = images.val_features_dataloader()
    found, labels = extract(network, loader, where, kinds=kinds, watch=watch)
    views, reason = _views(pretrained, images, batch_size)
    aligned, pairs = _alignment(network, views, where, kinds, watch) if views else ({}, 0)
    n = len(labels)
    if n < 2:
        raise ConfigError(
            f"the validation images are {n}: health is measured over pairs of images, give at "
            "least 2 (data.val_path)"
        )
    chosen = torch.randperm(n, generator=torch.Generator().manual_seed(images.seed))[:MOST]
    rows = [_row(kind, z, chosen.to(where), aligned.get(kind)) for kind, z in found.items()]
    return {
        "rows": rows,
        "checkpoint": str(pretrained.path),
        "crc32": f"{crc:08x}",
        "evaluate": pretrained.whose,
        # strategies of the pretraining whose filter all images passed; null: the file tells of none
        "input_filters": pretrained.filters,
        "dataset": dataset,
        "images": n,
        "ranked_images": len(chosen),
        "pairs": pairs,
        **({"no_alignment": reason} if reason else {}),
        **damage(images.tolerance),
        "seconds": round(time.perf_counter() - start, 3),
        "versions": versions(where),
    }


def _row(kind: str, z: Tensor, chosen: Tensor, aligned: float | None) -> dict[str, Any]:
    some, dimension = z[chosen], z.shape[1]
    std, rank = float(embedding_std(z)), float(rankme(some))
    return {
        "features": kind,
        "dimension": dimension,
        "rank": rank,
        "highest_rank": min(len(some), dimension),
        "std": std,
        "even_std": 1 / math.sqrt(dimension),
        "uniformity": float(uniformity(some)),
        "alignment": aligned,
        "verdict": verdict(std, rank, len(some), dimension) or None,
    }


def _views(
    pretrained: Pretrained, images: ImageData, batch_size: int
) -> tuple[ImageData | None, str]:
    """The validation images as the pretraining augmented its own; else why there are none."""
    told = pretrained.config.get("augmentations")
    augmentations = [e for e in told if isinstance(e, Mapping)] if isinstance(told, list) else []
    if not augmentations or augmentations != told:
        return None, "the checkpoint does not say how its pretraining augmented images"
    count = len(images.val_source or ())
    # Batches are full: of equal ones that take in nearly all images.
    batch = count // -(-count // batch_size)
    cfg = {"data": images.block, "augmentations": augmentations, "seed": images.seed}
    views = build_pretrain(
        OmegaConf.create({**cfg, "optimizer": {"batch_size": batch}}), split="val"
    )
    if sum(pipeline.num_crops for pipeline in views.pipelines) < 2:
        return None, "the pretraining took one view of each image"
    views.network_device = images.network_device
    return views, ""


def _alignment(
    network: nn.Module,
    views: ImageData,
    device: torch.device,
    kinds: Sequence[str],
    watch: Watch,
) -> tuple[dict[str, float], int]:
    """By kind the mean over all pairs of the first two views, and the number of pairs."""
    sums = {kind: torch.zeros((), device=device) for kind in kinds}
    pairs, ahead = 0, device.type == "cuda"
    with torch.inference_mode():
        for _, crops, _ in watch(views.train_dataloader()):
            first, second = (
                features_of(network, x.to(device, non_blocking=ahead), kinds) for x in crops[:2]
            )
            for kind in kinds:
                sums[kind] += alignment(first[kind], second[kind]) * len(first[kind])
            pairs += len(crops[0])
    return {kind: float(total) / pairs for kind, total in sums.items()}, pairs
