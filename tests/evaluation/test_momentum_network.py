# SPDX-License-Identifier: MIT
"""``evaluate: momentum`` measures the momentum network, and says so wherever a number is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.features import extract
from mixmask_solo.evaluation.network import load_network
from mixmask_solo.evaluation.run_knn import (
    MOCO,
    SOLO_LEARN,
    Protocol,
    evaluate_knn,
    evaluation_data,
)
from mixmask_solo.host.knn import knn
from mixmask_solo.methods import get_methods
from mixmask_solo.records.pretrained import read_pretrained
from mixmask_solo.runs.linear import linear
from mixmask_solo.runs.pretrain import resolve
from support.methods import run_config

METHODS = ("byol", "mocov2plus", "mocov2")


def save(folder: Path, method: str, drop: str = "-") -> Any:
    """A run whose two networks differ, weights and running statistics."""
    cfg = resolve(run_config(method))
    cfg.data.num_classes = 10
    torch.manual_seed(0)
    model = get_methods("builtin")[method](cfg)
    for online, momentum in model.momentum_pairs:
        for a, b in zip(online.parameters(), momentum.parameters(), strict=True):
            b.data = a.data + 0.1 * torch.randn_like(a)
    x = torch.rand(8, 3, 24, 24)
    model.momentum_forward(x)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(drop)}
    torch.save({"state_dict": state}, folder / "last.ckpt")
    config: Any = OmegaConf.to_container(cfg)
    (folder / "args.json").write_text(json.dumps(config))
    return model.eval()


@pytest.mark.parametrize("method", METHODS)
def test_features_are_those_of_the_momentum_network(method: str, tmp_path: Path) -> None:
    model = save(tmp_path, method)
    network = load_network(read_pretrained(tmp_path, "momentum"), projector=True).eval()
    online = load_network(read_pretrained(tmp_path), projector=True).eval()
    x = torch.rand(4, 3, 24, 24)
    with torch.no_grad():
        expected, found = model.momentum_forward(x), network(x)
        for key in ("feats", "z"):
            torch.testing.assert_close(found[key], expected[key], rtol=0, atol=0)
            torch.testing.assert_close(online(x)[key], model(x)[key], rtol=0, atol=0)
            assert not torch.allclose(found[key], online(x)[key], rtol=0.01)


def by_hand(backbone: torch.nn.Module, folder: Path) -> float:
    loaders = evaluation_data(read_pretrained(folder), {}, 256).features_dataloaders()
    (train, a), (test, b) = (extract(backbone, loader, "cpu") for loader in loaders)
    [accuracy] = knn(train["backbone"], a, test["backbone"], b).values()
    return accuracy.top1


def test_nearest_neighbours_of_either_network(tmp_path: Path) -> None:
    model = save(tmp_path, "mocov2plus")
    networks = {"online": model.backbone, "momentum": model.momentum_backbone}
    expected = {name: by_hand(network, tmp_path) for name, network in networks.items()}
    assert expected["online"] != expected["momentum"]
    for name, accuracy in expected.items():
        result = evaluate_knn(tmp_path, evaluate=name, protocols=[SOLO_LEARN], device="cpu")
        assert (result["evaluate"], result["trained"]) == (name, accuracy)


def test_a_file_without_the_momentum_projector(tmp_path: Path) -> None:
    save(tmp_path, "byol", drop="momentum_projector.")
    result = evaluate_knn(tmp_path, evaluate="momentum")
    assert [r["features"] for r in result["rows"]] == [SOLO_LEARN.features]
    with pytest.raises(
        ConfigError, match=r"projector and evaluate is momentum: .* method byol and holds no mom"
    ):
        evaluate_knn(tmp_path, evaluate="momentum", protocols=[MOCO])


def test_a_method_without_a_momentum_network(run_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no momentum network: set evaluate=online"):
        evaluate_knn(run_folder, evaluate="momentum", protocols=[Protocol()])
    with pytest.raises(ConfigError, match=r"evaluate is 'ema': choose online or momentum"):
        evaluate_knn(run_folder, evaluate="ema")


def probe(folder: Path, checkpoint: Path, **more: Any) -> dict[str, Any]:
    cfg = {
        "name": "probe",
        "pretrained_feature_extractor": str(checkpoint),
        "data": {"dataset": "digits", "num_workers": 0},
        "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.1, "weight_decay": 0.0},
        "scheduler": {"name": "none"},
        "checkpoint": {"enabled": True, "dir": str(folder)},
        "max_epochs": 1,
        "accelerator": "cpu",
        "limit_train_batches": 1,
        "limit_val_batches": 1,
    }
    return linear(OmegaConf.create({**cfg, **more}))


@pytest.mark.parametrize("evaluate", ["online", "momentum"])
def test_a_probe_of_either_network(evaluate: str, tmp_path: Path) -> None:
    model = save(tmp_path, "byol")
    result = probe(tmp_path / "runs", tmp_path / "last.ckpt", evaluate=evaluate)
    directory = Path(result["directory"])
    assert json.loads((directory / "result.json").read_text())["config"]["evaluate"] == evaluate
    assert json.loads((directory / "args.json").read_text())["evaluate"] == evaluate
    probed: dict[str, Tensor] = torch.load(directory / "last.ckpt")["state_dict"]
    network = model.momentum_backbone if evaluate == "momentum" else model.backbone
    for name, tensor in network.state_dict().items():
        assert torch.equal(probed[f"backbone.{name}"], tensor), name


def test_a_probe_is_online_unless_told_and_refuses_what_is_not_there(
    tmp_path: Path, run_folder: Path
) -> None:
    assert probe(tmp_path, run_folder / "last.ckpt")["config"]["evaluate"] == "online"
    with pytest.raises(ConfigError, match=r"evaluate is 'teacher'"):
        probe(tmp_path, run_folder / "last.ckpt", evaluate="teacher")
    with pytest.raises(ConfigError, match=r"last\.ckpt' holds no momentum network") as error:
        probe(tmp_path, run_folder / "last.ckpt", evaluate="momentum")
    assert "\n" not in str(error.value)
