# SPDX-License-Identifier: MIT
"""Loss, rate and gradient of a step, by value."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mixmask_solo.runs.gauges import StepGauges


class Module:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: Any, **_: Any) -> None:
        self.logged[name] = float(value)

    def log_dict(self, values: dict[str, Any], **_: Any) -> None:
        self.logged |= {name: float(value) for name, value in values.items()}


@pytest.mark.parametrize("logs", [True, False])
def test_values_are_those_of_the_step(logs: bool) -> None:
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (2, 1, 3)]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([12.0])
    groups = [{"params": parameters[:2], "lr": 0.25}, {"params": parameters[2:], "lr": 9.0}]
    optimizer = torch.optim.SGD(groups)
    connector = SimpleNamespace(should_update_logs=logs)
    trainer: Any = SimpleNamespace(_logger_connector=connector, accumulate_grad_batches=2)
    gauges, module = StepGauges(), Module()
    gauges.on_before_optimizer_step(trainer, module, optimizer)  # type: ignore[arg-type]
    parameters[0].grad.zero_()  # what comes later does not count
    gauges.on_train_batch_end(trainer, module, {"loss": torch.tensor(1.5)})  # type: ignore[arg-type]
    expected = {"train_loss": 3.0, "train_grad_norm": 13.0} | ({"train_lr": 0.25} if logs else {})
    assert module.logged == expected
