# SPDX-License-Identifier: MIT
"""Nothing in a training step waits for the GPU: whole runs of the trainer on a fake one.

What these tests cannot see: numbers, races between streams, memory, backward passes, NCCL and the
kernels of DALI. They are for a real device (``pytest -m gpu``), where these are skipped.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from mixmask_solo.methods import get_method
from mixmask_solo.runs.embedding import EmbeddingHealth
from mixmask_solo.runs.gauges import StepGauges
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.runs.readback import Readback
from support.fake_cuda import Watch, fake_gpu, to_gpu
from support.methods import HEADS, run_config
from support.saliency import block, localizer_file

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is here")

_BATCH, _STEPS, _SEEN = 8, 5, 2
_MIXMASK = {"grid_size": 8, "mask_type": "block"}
STRATEGIES: dict[str, dict[str, Any]] = {
    "none": {},
    "mixmask": {"mixmask": _MIXMASK},
    "mixmask_discrete": {"mixmask": {"grid_size": 2, "mask_type": "discrete", "per_sample": True}},
    "unmix": {"unmix": {"prob": 0.5}},
    "erase": {"erase": {**_MIXMASK, "per_sample": True, "fill": "noise"}},
    "erase_branch": {"erase": {**_MIXMASK, "fill": "blur", "blur_kernel": 7, "role": "branch"}},
    "adios": {"adios": {"slots": 2}},
    "both": {"mixmask": {**_MIXMASK, "per_sample": True}, "unmix": {"prob": 0.5}},
    "mscn": {"mscn": {"patch_size": 8}},
}


class _Images(LightningDataModule):
    """Batches that lie on the GPU already."""

    train_labels = "all"

    def __init__(self, crops: int) -> None:
        super().__init__()
        self.crops = crops

    def train_dataloader(self) -> Any:
        return self

    def __len__(self) -> int:
        return _STEPS

    def __iter__(self) -> Iterator[Any]:
        for _ in range(_STEPS):
            views = [torch.rand(_BATCH, 3, 24, 24, device="cuda") for _ in range(self.crops)]
            indexes = torch.arange(_BATCH, device="cuda")
            yield [indexes, views, indexes % 10]


class _Look(Callback):
    """What the watch had found before each step."""

    def __init__(self) -> None:
        self.seen: list[Counter[Any]] = []

    def on_train_batch_start(self, *_: Any) -> None:
        assert Watch.current is not None
        self.seen.append(Counter(Watch.current.found))


class _Accelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None: ...


def waits(monkeypatch: pytest.MonkeyPatch, method: str, **blocks: Any) -> Counter[Any]:
    """What waits in two steps, the first two of the run left out."""
    kwargs = blocks.pop("method_kwargs", {})
    precision = blocks.pop("precision", "32")
    cfg = resolve(run_config(method, kwargs, **blocks))
    cfg.data.num_classes = 10
    crops = 2 + int(cfg.data.get("num_extra_crops", 0))
    model = get_method(method, "builtin")(cfg).train()
    look = _Look()

    def backward(loss: Tensor, *_: Any, **__: Any) -> None:  # autograd wants a real driver
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)

    place = SingleDeviceStrategy(device=torch.device("cuda", 0), accelerator=_Accelerator())
    with fake_gpu(monkeypatch):
        trainer = Trainer(
            strategy=place,
            devices=1,
            precision=precision,
            max_epochs=1,
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            limit_val_batches=0,
            callbacks=[look, EmbeddingHealth(2, 64), StepGauges(), Readback(None)],  # type: ignore[arg-type]
        )
        for name in ("to", "cuda"):
            monkeypatch.setattr(nn.Module, name, lambda self, *_, **__: to_gpu(self))
        monkeypatch.setattr(nn.Module, "cpu", lambda self: self)
        monkeypatch.setattr(Tensor, "backward", backward)
        trainer.fit(model, datamodule=_Images(crops))
    assert len(look.seen) == _STEPS
    return look.seen[-1] - look.seen[-1 - _SEEN]


@pytest.mark.parametrize(
    ("method", "fill"),
    [*((method, "high_pass") for method in HEADS), ("mocov2", "blur"), ("mocov2plus", "mean")],
)
def test_no_step_with_a_localiser_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, fill: str
) -> None:
    file = localizer_file(tmp_path / "weights.pth")
    saliency = block(file, fill=fill, localizer={"mean": [0.5] * 3, "std": [0.5] * 3})
    assert not waits(monkeypatch, method, method_kwargs={"saliency": saliency})


@pytest.mark.parametrize("strategy", list(STRATEGIES))
@pytest.mark.parametrize("method", list(HEADS))
def test_no_step_waits(monkeypatch: pytest.MonkeyPatch, method: str, strategy: str) -> None:
    found = waits(monkeypatch, method, method_kwargs=STRATEGIES[strategy])
    assert not found


@pytest.mark.parametrize(
    ("method", "block"),
    [
        ("simclr", {"single": True, "entropy": 0.5}),
        ("mocov2plus", {"slots": 2, "schedule": "simultaneous"}),
    ],
)
def test_no_form_of_adios_waits(
    monkeypatch: pytest.MonkeyPatch, method: str, block: dict[str, Any]
) -> None:
    found = waits(monkeypatch, method, method_kwargs={"adios": block}, precision="bf16-mixed")
    assert not found


_LARS = {"name": "lars", "kwargs": {"momentum": 0.9, "eta": 0.02, "clip_lr": True}}
_BANK = {"bank_dtype": "float16", "bank_device": "cpu"}


@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize(
    ("optimizer", "knn"),
    [
        ({"name": "sgd", "kwargs": {"momentum": 0.9}}, {"features": "backbone"}),
        (_LARS, {"features": "projector", "distance_func": "euclidean"}),
        ({"name": "adamw"}, {"features": "backbone", **_BANK}),
    ],
    ids=["sgd", "lars-euclidean", "adamw-bank"],
)
def test_no_precision_optimiser_or_bank_waits(
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    optimizer: dict[str, Any],
    knn: dict[str, Any],
) -> None:
    found = waits(
        monkeypatch,
        "byol",
        method_kwargs=STRATEGIES["mixmask"],
        optimizer=optimizer,
        precision=precision,
        knn_eval={"enabled": True, "k": 5, **knn},
    )
    if precision == "16-mixed" and optimizer is _LARS:
        # The gradients' scale changes when they overflow. The fused optimisers look at that on the
        # device; for any other GradScaler asks the host, once a step.
        assert found == Counter({("item", "methods/own_steps.py"): _SEEN})
    else:
        assert not found
