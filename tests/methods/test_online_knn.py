# SPDX-License-Identifier: MIT
"""Which features the online k-NN compares."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from mixmask_solo.host import load
from mixmask_solo.methods import get_methods
from support.methods import method_config


def config(method: str, features: str | None, small: int = 0) -> DictConfig:
    asked = {} if features is None else {"features": features}
    knn = {"enabled": True, "k": 2, **asked}
    return method_config(method, knn_eval=knn, data={"num_small_crops": small})


def step(method: str, features: str | None, small: int = 0) -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    model = get_methods("builtin")[method](config(method, features, small))
    model.log = model.log_dict = lambda *_, **__: None
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(8, 3, s, s, generator=generator) for s in [16, 16] + [8] * small]
    labels = torch.tensor([0, 1, 2, -1, 0, 1, 2, 3])
    loss = model.training_step([torch.arange(8), views, labels], 0)
    model.eval()
    model.validation_step((views[0], labels), 0)
    return model, loss


@pytest.mark.parametrize(("method", "small"), [("mocov2", 0), ("simclr", 0), ("byol", 2)])
def test_projections_take_the_place_of_features(method: str, small: int) -> None:
    views = 1 if method == "mocov2" else 2  # asymmetric: view 2 is never a query
    losses = []
    for features, width in ((None, 512), ("backbone", 512), ("projector", 16)):
        model, loss = step(method, features, small)
        train, test = torch.cat(list(model.knn.train_features)), model.knn.test_features[0]
        labels = torch.cat(list(model.knn.train_targets))
        assert train.shape[1] == test.shape[1] == width
        kept = labels != -1
        assert kept.sum() == 7 * views
        assert len(train[kept]) == 7 * views
        assert len(test) == 8
        assert model.knn_eval
        losses.append(loss)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])


def test_the_flag_is_back_after_a_step_that_failed() -> None:
    model, _ = step("simclr", "projector")
    with pytest.raises(ValueError, match="views"):
        model.training_step([torch.arange(8), [torch.zeros(8, 3, 8, 8)], torch.zeros(8)], 1)
    assert model.knn_eval


def test_other_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"knn_eval.features is 'head': choose backbone or proj"):
        get_methods("builtin")["simclr"](config("simclr", "head"))


def test_the_hosts_own_class_knows_nothing_of_it() -> None:
    plain = load("builtin").methods["simclr"](config("simclr", None))
    assert not hasattr(plain, "_knn_on_z")
