# SPDX-License-Identifier: MIT
"""k-NN accuracy of a checkpoint, and of what it has to beat."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError, check
from mixmask_solo.config.check import with_defaults
from mixmask_solo.config.schema.data import LinearData
from mixmask_solo.data import ImageData, build_classification
from mixmask_solo.data.sources.storage import has_columns
from mixmask_solo.evaluation.features import Extracted, extract
from mixmask_solo.evaluation.network import load_network, why_no_projector
from mixmask_solo.host.knn import knn
from mixmask_solo.records.checkpoints import checksum
from mixmask_solo.records.pretrained import Pretrained, find_checkpoint, read_pretrained
from mixmask_solo.records.result import damage, versions


class Protocol(NamedTuple):
    """Which features, and all combinations of which settings."""

    features: str = "backbone"  # or "projector"
    distance: str = "cosine"  # or "euclidean"
    k: tuple[int, ...] = (20,)  # numbers of neighbours
    temperature: tuple[float, ...] = (0.07,)  # of the cosine's votes


SOLO_LEARN = Protocol()
MOCO = Protocol("projector", "cosine", (200,), (0.1,))
"""Of the MoCo, Un-Mix and MixMask papers: the head's output, not the backbone's."""


def evaluate_knn(
    checkpoint: str | Path,
    *,
    protocols: Sequence[Protocol] | None = None,
    baselines: bool = False,
    data: Mapping[str, Any] | None = None,
    backbone: Mapping[str, Any] | None = None,
    evaluate: str = "online",
    batch_size: int = 256,
    device: str = "auto",
    bank_dtype: str = "float32",
    bank_device: str = "device",
    watch: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[str, Any]:
    """Classifies validation images by their nearest training images, none of them augmented.

    Args:
        checkpoint: file, or folder of a run.
        protocols: None for ``SOLO_LEARN`` and, where the checkpoint has a projector, ``MOCO``.
        baselines: also measures the same network before its first step, and the raw pixels.
        data: see :func:`evaluation_data`.
        backbone: keys of the block, where nothing beside the weights tells them.
        evaluate: whose features, the ``online`` or the ``momentum`` network's.
        device: ``auto``, ``cpu``, ``cuda``, ...
        bank_dtype: of the training images' features: ``float32``, ``float16`` or ``bfloat16``.
        bank_device: where they lie: ``device``, that of the network, or ``cpu``.
        watch: wraps each loader, for a progress bar.

    Returns:
        The content of ``knn.json``. ``trained`` (with baselines also ``untrained`` and ``pixels``)
        is top-1 in percent under the first protocol's first setting; ``rows`` hold every ``acc1``
        and ``acc5`` with ``network``, ``features``, ``distance``, ``k`` and ``temperature``.
    """
    start = time.perf_counter()
    file = find_checkpoint(checkpoint)
    crc = checksum(file) if file.is_file() else 0  # ahead of reading: a run may replace it
    pretrained = read_pretrained(checkpoint, evaluate)
    if protocols is None:
        protocols = (SOLO_LEARN,) if why_no_projector(pretrained) else (SOLO_LEARN, MOCO)
    images = evaluation_data(pretrained, data or {}, batch_size)
    where = images.network_device = network_device(device)
    loaders = images.features_dataloaders()
    dataset = images.block["dataset"]
    kinds = list(dict.fromkeys(p.features for p in protocols))
    home = where if bank_device == "device" else "cpu"

    def features(*, trained: bool) -> tuple[Extracted, Extracted]:
        projector = "projector" in kinds
        network = load_network(
            pretrained, projector=projector, trained=trained, backbone=backbone, dataset=dataset
        )
        wanted = [*kinds, "pixels"] if trained and baselines else kinds
        train, test = loaders
        keep = getattr(torch, bank_dtype)
        bank = extract(network, train, where, kinds=wanted, keep=keep, home=home, watch=watch)
        return bank, extract(network, test, where, kinds=wanted, watch=watch)

    train, test = features(trained=True)
    rows = _rows("trained", train, test, protocols)
    if baselines:
        rows += _rows("untrained", *features(trained=False), protocols)
        as_pixels = dict.fromkeys(p._replace(features="pixels") for p in protocols)
        rows += _rows("pixels", train, test, as_pixels)
    first: dict[str, float] = {}
    for row in rows:
        first.setdefault(row["network"], row["acc1"])
    return {
        **first,
        "rows": rows,
        "checkpoint": str(pretrained.path),
        "crc32": f"{crc:08x}",
        "evaluate": pretrained.whose,
        "own_images": _own(pretrained.data, data or {}),
        # strategies of the pretraining whose filter all images passed; null: the file tells of none
        "input_filters": pretrained.filters,
        "dataset": dataset,
        "train_images": len(train[1]),
        "test_images": len(test[1]),
        "bank_dtype": bank_dtype,
        **damage(images.tolerance),
        "seconds": round(time.perf_counter() - start, 3),
        "versions": versions(where),
    }


def evaluation_data(pretrained: Pretrained, given: Mapping[str, Any], batch_size: int) -> ImageData:
    """Labelled images, un-augmented, of the size and statistics the network knows.

    Those it was pretrained on, unless ``given`` keys of ``data`` say others: another ``dataset``
    forgets the stored paths, size and statistics. Images at a given path have labels, whatever the
    pretraining's had. Raises ConfigError naming the key of ``data`` that is missing or wrong.
    """
    # A network pretrained on a part of the images is still measured with all of them.
    # And not every machine that measures has the disk that a node of a cluster has.
    known = {f.name for f in fields(LinearData)} - {"fraction", "stage_to"}
    stored = {k: v for k, v in pretrained.data.items() if k in known}
    wanted = {k: v for k, v in given.items() if v is not None}
    other = wanted.get("dataset", stored.get("dataset")) != stored.get("dataset")
    if other:
        stored = {}
    if "train_path" in wanted and not has_columns({**stored, **wanted}):
        stored = {k: v for k, v in stored.items() if k not in ("image_column", "label_column")}
    if "dataset" not in {**stored, **wanted}:
        raise ConfigError(
            f"data.dataset is missing: checkpoint '{pretrained.path}' does not say what it was "
            "trained on; give it, as data.dataset=cifar10"
        )
    if stored.pop("no_labels", False) and "train_path" not in wanted:
        raise ConfigError(
            f"data.train_path is missing: checkpoint '{pretrained.path}' was pretrained with "
            "data.no_labels, and an evaluation needs labelled images"
        )
    values = {**stored, **wanted}
    block = with_defaults(values, check(values, LinearData, "data"))
    if not other and not (values.get("augmentations") or {}).get("crop_size"):
        block["augmentations"] = pretrained.view or block["augmentations"]
    seed = pretrained.config.get("seed")
    cfg = {"data": block, "optimizer": {"batch_size": batch_size}, "seed": seed}
    return build_classification(OmegaConf.create(cfg))


def _own(stored: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Whether ``given`` names no images but those of the run."""
    named = {k: v for k, v in given.items() if k not in ("stage_to", "num_workers")}
    return all(v is None or v == stored.get(k) for k, v in named.items())


def _rows(
    network: str, train: Extracted, test: Extracted, protocols: Iterable[Protocol]
) -> list[dict[str, Any]]:
    rows = []
    for kind, distance, k, temperature in protocols:
        bank, queries = (train[0][kind], train[1]), (test[0][kind], test[1])
        found = knn(*bank, *queries, k=k, temperature=temperature, distance=distance)
        common = {"network": network, "features": kind, "distance": distance}
        rows += [
            {**common, **setting._asdict(), "acc1": accuracy.top1, "acc5": accuracy.top5}
            for setting, accuracy in found.items()
        ]
    return rows


def network_device(name: str) -> torch.device:
    """The device called so, or for ``auto`` the best one here; ConfigError where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("mps"):
        raise ConfigError(f"device is {name!r}: votes are float64, which it lacks; choose cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device is {name!r}: it cannot be used here ({reason})") from error
