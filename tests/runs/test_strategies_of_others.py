# SPDX-License-Identifier: MIT
"""Runs with strategies that have parameters and input filters: stored, resumed, measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.run_knn import evaluate_knn
from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.strategies import registry
from support.checkpoint import load_pretrained
from support.strategies import Centre, registered  # noqa: F401
from support.tiny import config, interrupted, weights

BLOCKS: dict[str, Any] = {"mixmask": None, "dimmer": {}, "centred": {"factor": 0.5}}


@pytest.mark.usefixtures("registered")
def test_parameters_and_filters_live_as_long_as_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "a", "byol", method_kwargs=BLOCKS))
    saved = interrupted(monkeypatch, config(tmp_path / "b", "byol", method_kwargs=BLOCKS))
    begun = weights(saved)["strategies.dimmer.share"]
    resumed = pretrain(
        config(tmp_path / "b", "byol", method_kwargs=BLOCKS, resume_from_checkpoint=str(saved))
    )
    folder = Path(straight["directory"])
    a, b = weights(folder / LAST), weights(Path(resumed["directory"]) / LAST)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["strategies.dimmer.share"], begun)
    stored = json.loads((folder / "args.json").read_text())["method_kwargs"]
    assert (stored["dimmer"], stored["centred"]) == ({"lr": 0.1}, {"factor": 0.5})

    seen: list[int] = []
    apply = Centre.__call__
    monkeypatch.setattr(Centre, "__call__", lambda f, x: seen.append(len(x)) or apply(f, x))
    found = evaluate_knn(folder, device="cpu")  # backbone and projector, from one pass
    assert sum(seen) == found["train_images"] + found["test_images"]
    backbone = load_pretrained(folder).eval()
    x = torch.rand(2, 3, 32, 32)
    assert backbone.state_dict().keys() == {
        key.removeprefix("backbone.") for key in a if key.startswith("backbone.")
    }
    filtered = backbone(x)
    backbone._forward_pre_hooks.clear()
    torch.testing.assert_close(filtered, backbone(x - 0.5 * x.mean((2, 3), keepdim=True)))

    monkeypatch.delitem(registry._STRATEGIES, "dimmer")  # which filters nothing
    again = evaluate_knn(folder, device="cpu")
    assert again["rows"] == found["rows"]
    monkeypatch.delitem(registry._STRATEGIES, "centred")
    with pytest.raises(ConfigError, match=r"method_kwargs\.centred, a strategy .* not installed"):
        evaluate_knn(folder, device="cpu")
