# SPDX-License-Identifier: MIT
"""The whole of a configuration: what pretraining and probes share, and what each adds."""

from dataclasses import dataclass, field
from typing import Any, Literal

from mixmask_solo.config.errors import ConfigError, listing
from mixmask_solo.config.option import option
from mixmask_solo.config.schema.augmentations import Augmentation
from mixmask_solo.config.schema.data import Data, FinetuneData, LinearData
from mixmask_solo.config.schema.method import METHOD_KWARGS
from mixmask_solo.config.schema.optimizer import (
    FinetuneOptimizer,
    LinearOptimizer,
    LinearScheduler,
    Optimizer,
    Scheduler,
)

_PRECISIONS = (
    *("64", "64-true", "32", "32-true", "16", "16-true", "16-mixed"),
    *("bf16", "bf16-true", "bf16-mixed"),
)
_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu")


@dataclass
class Backbone:
    """A network, by torchvision's or timm's name."""

    name: str = option()  # solo-learn's resnet18 and resnet50, or any timm ConvNet
    kwargs: dict[str, Any] = option({})
    stem: Literal["auto", "imagenet", "cifar", "cifar_pool"] = "auto"  # ours; auto is solo-learn's
    stem_padding: Literal[1, 2] = 2  # ours, of the CIFAR stem: solo-learn has 2, the papers 1


@dataclass
class _KNNEval:
    """Weighted k-NN on features of the network after each validation."""

    # auto (ours) leaves it off where an epoch's features would take over 2 GiB in each process
    enabled: bool | Literal["auto"] = False
    k: int = option(20, low=1)
    distance_func: Literal["euclidean", "cosine"] = "euclidean"
    features: Literal["backbone", "projector"] = "backbone"  # ours; the projector's output is z
    bank_dtype: Literal["float32", "float16", "bfloat16"] = "float32"  # ours
    bank_device: Literal["device", "cpu"] = "device"  # ours: with the network, or in host memory
    final: bool = True  # ours: where it is on, a complete run is measured in evaluation mode


@dataclass
class _Health:
    """Ours: once an epoch, rank, alignment and uniformity of the embeddings of its last images."""

    enabled: bool = False
    images: int = option(4096, low=64)  # over all processes; whole batches


@dataclass
class _Performance:
    disable_channel_last: bool = False
    compile: bool = False  # ours: backbone and heads by torch.compile
    tf32: bool = False  # ours: float32 products of matrices on a GPU with 10 bits of mantissa


@dataclass
class _Checkpoint:
    enabled: bool = False
    dir: str = "trained_models"
    frequency: int = option(1, low=1)
    keep_prev: bool = False


@dataclass
class _AutoResume:
    enabled: bool = False
    max_hours: float = option(36.0, above=0.0)


@dataclass
class _WandB:
    enabled: bool = False
    entity: str | None = None
    project: str = "solo-learn"
    offline: bool = False


@dataclass
class DaliOptions:
    """The decoder ``data.format: dali``; all ours but one key."""

    device: Literal["auto", "gpu", "cpu"] = "auto"  # decodes; auto is the GPU where there is one
    encode_indexes_into_labels: bool = False  # solo-learn's; indexes are always true here
    prefetch: int = option(2, low=1)  # batches decoded ahead on a GPU
    # whether Pillow reads each image's compressed data once, so that no damaged one passes for
    # whole; false where ``mixmask-data check`` has done it
    verify: bool = True
    # the folder that remembers what was found whole; auto lies in the user's cache, null is none
    cache: str | None = "auto"
    readers: int | Literal["auto"] = option("auto", low=1)  # threads that read files for a GPU
    hw_decoder_load: float = option(0.65, low=0.0, high=1.0)  # share for a GPU's JPEG decoder


@dataclass(kw_only=True)
class Run:
    """Keys that all trainings share; those of the trainer keep Lightning's names."""

    name: str | None = None  # made of method and data set when left out
    seed: int = option(5, low=0, high=2**32 - 1)
    performance: _Performance = field(default_factory=_Performance)
    checkpoint: _Checkpoint = field(default_factory=_Checkpoint)
    auto_resume: _AutoResume = field(default_factory=_AutoResume)
    wandb: _WandB = field(default_factory=_WandB)
    resume_from_checkpoint: str | None = None
    accumulate_grad_batches: int = option(1, low=1)
    num_nodes: int = option(1, low=1)
    devices: int | list[int] | str = 1
    accelerator: str = option("auto", choices=_ACCELERATORS)
    strategy: str | None = "auto"
    precision: str = option("32", choices=_PRECISIONS)
    sync_batchnorm: bool = False
    # ours: minutes that processes wait for one that does not answer; null is 30 on GPUs, else 5
    timeout: float | None = option(None, above=0.0, absent=True)
    check_val_every_n_epoch: int = option(1, low=1)
    limit_train_batches: int | float | None = option(None, low=0, absent=True)
    limit_val_batches: int | float | None = option(None, low=0, absent=True)
    dali: DaliOptions | None = option(None, absent=True)
    # ours: share of a table's epochs and images that this run is a rehearsal with; a label
    scale: float | None = option(None, above=0, high=1, absent=True)
    # solo-learn's, tolerated while switched off
    auto_umap: dict[str, Any] | None = option(None, absent=True)
    debug_augmentations: bool = False

    def validate(self, prefix: str) -> None:
        if self.auto_umap and self.auto_umap.get("enabled", False):
            raise ConfigError("auto_umap.enabled is true: it is not implemented; remove auto_umap")
        if self.debug_augmentations:
            raise ConfigError(
                "debug_augmentations is true: it is not implemented; "
                "mixmask-gallery shows augmented images"
            )
        path = self.resume_from_checkpoint
        if path is not None and not path.endswith(".ckpt"):
            raise ConfigError(
                f"resume_from_checkpoint is {path!r}: give a .ckpt file written by a run"
            )
        self.strategy = self.strategy or "auto"


@dataclass(kw_only=True)
class _Epochs(Run):
    """A run that is as long as its epochs, as pretraining and probes are."""

    max_epochs: int = option(low=1)


@dataclass(kw_only=True)
class Pretrain(_Epochs):
    """Keys of ``mixmask-pretrain``."""

    method: str = option(choices=tuple(METHOD_KWARGS))
    host: Literal["auto", "solo", "builtin"] = "auto"  # whose classes; auto: solo-learn's if there
    backbone: Backbone = option()
    data: Data = option()
    augmentations: list[Augmentation] = option([])  # large crops have the first one's crop_size
    optimizer: Optimizer = option()
    scheduler: Scheduler = option()
    knn_eval: _KNNEval = field(default_factory=_KNNEval)
    health: _Health = field(default_factory=_Health)
    method_kwargs: dict[str, Any] = option({})  # the method's own keys and strategies' blocks
    momentum: dict[str, Any] | None = option(None, absent=True)
    # ours: checkpoint whose weights a new run starts with; a resumed run goes on from its own
    init_from: str | None = option(None, absent=True)
    report: bool = False  # ours: report.html in the run's folder, once it has ended


@dataclass(kw_only=True)
class _Classifier(_Epochs):
    """Keys that a probe and fine-tuning share: a classifier is trained on a pretrained network."""

    evaluate: Literal["online", "momentum"] = "online"  # ours: whose weights are taken
    backbone: Backbone | None = option(None, absent=True)  # where the checkpoint does not tell
    pretrain_method: str | None = None  # for the records
    label_smoothing: float = option(0.0, low=0.0, high=1.0)
    mixup: float = option(0.0, low=0.0)
    cutmix: float = option(0.0, low=0.0)


@dataclass(kw_only=True)
class Linear(_Classifier):
    """Keys of ``mixmask-linear``."""

    pretrained_feature_extractor: str = option()  # checkpoint whose backbone is probed
    data: LinearData = option()
    optimizer: LinearOptimizer = option()
    scheduler: LinearScheduler = option()
    finetune: bool = False  # trains the backbone too
    auto_augment: bool = False

    def validate(self, prefix: str) -> None:
        super().validate(prefix)
        _require_checkpoint(self.pretrained_feature_extractor)
        if self.optimizer.layer_decay and not self.finetune:
            raise ConfigError(
                f"optimizer.layer_decay is {self.optimizer.layer_decay}: it needs finetune=true"
            )


@dataclass(kw_only=True)
class Finetune(_Classifier):
    """Keys of ``mixmask-finetune``, all ours: the whole network is trained."""

    # checkpoint whose backbone is trained on; null starts from scratch, the baseline
    pretrained_feature_extractor: str | None = option()
    data: FinetuneData = option()
    optimizer: FinetuneOptimizer = option()
    scheduler: Scheduler = option()
    finetune: Literal[True] = True  # tells a record from a probe's
    # the classifier's start: N(0, 0.01^2) with bias 0, or PyTorch's
    classifier_init: Literal["normal", "default"] = "normal"

    def validate(self, prefix: str) -> None:
        super().validate(prefix)
        if self.pretrained_feature_extractor is not None:
            _require_checkpoint(self.pretrained_feature_extractor)
        elif self.backbone is None:
            raise ConfigError(
                "backbone.name is missing: pretrained_feature_extractor is null, and nothing else "
                "tells which network to train from scratch; give the name, e.g. resnet50"
            )
        elif self.evaluate != "online":
            raise ConfigError(
                f"evaluate is {self.evaluate}: pretrained_feature_extractor is null, so there is "
                "no such network; leave it out"
            )


CHECKPOINTS = (".ckpt", ".pth", ".pt", ".pth.tar", ".safetensors")  # how their names end


def _require_checkpoint(path: str) -> None:
    if not path.endswith(CHECKPOINTS):
        raise ConfigError(
            f"pretrained_feature_extractor is {path!r}: give a run's folder that is "
            f"there, or a checkpoint that ends in {listing(CHECKPOINTS, 'or')}"
        )
