# SPDX-License-Identifier: MIT
"""What a table costs before it is run: GPU hours and disk."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mixmask_solo.methods import get_method
from mixmask_solo.tables.head import head_of
from mixmask_solo.tables.match import Found
from mixmask_solo.tables.training import Training

_HOURS = re.compile(r"([\d.,]+) h on (a|\d+) (?:\w+ )?GPUs?")
_STATES = {"sgd": 1, "lars": 1, "adam": 2, "adamw": 2}  # copies of the weights an optimiser keeps


@dataclass(frozen=True)
class Cost:
    """Device hours of one run; ``measured`` on runs of the same configuration, else an estimate.

    ``hours`` is None where neither a run nor the recipe's head says; ``kind`` is GPU or CPU.
    """

    hours: float | None
    measured: bool = False
    kind: str = "GPU"


def cost(training: Training, found: Sequence[Found], epochs: int) -> Cost:
    """What completed runs of it took, on GPUs if any, else the head's figure by epochs and images.

    A network that is not the recipe's has no estimate.

    Args:
        epochs: of the recipe as it stands, which the head's cost is of.
    """
    results = [run.record.result for run in found if run.completed]
    done = [result for result in results if result.get("wall_seconds")]
    on_gpu = [result for result in done if _is_gpu(_device(result))]
    if measured := on_gpu or done:
        spent = [r["wall_seconds"] * (r.get("processes") or 1) / 3600 for r in measured]
        return Cost(sum(spent) / len(spent), True, "GPU" if on_gpu else "CPU")
    head = head_of(training.recipe.with_name(f"{training.recipe.name}.yaml"))
    told = _HOURS.search(" ".join(head.get("Cost", "").split()))
    if told is None or any(word.lstrip("+~").startswith("backbone") for word in training.overrides):
        return Cost(None)
    gpus = 1 if told[2] == "a" else int(told[2])
    images = float(training.identity["data"].get("fraction") or -1)
    ratio = int(training.identity["max_epochs"]) / epochs * (1 if images == -1 else images)
    return Cost(float(told[1].replace(",", "")) * gpus * ratio)


def _device(result: Any) -> str:
    return str((result.get("versions") or {}).get("device", ""))


def _is_gpu(name: str) -> bool:
    return any(word in name for word in ("NVIDIA", "Tesla", "GeForce", "AMD Instinct"))


def checkpoint_bytes(config: Any) -> int:
    """Of ``last.ckpt``: the module's parameters and buffers and its optimiser's state.

    Built without memory, on the meta device.
    """
    with torch.device("meta"):
        model = get_method(config.method, "builtin")(config)
    state = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    learnt = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return int(state + _STATES.get(str(config.optimizer.name), 2) * learnt)
