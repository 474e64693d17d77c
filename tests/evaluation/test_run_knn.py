# SPDX-License-Identifier: MIT
"""k-NN of a checkpoint from its folder alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.network import load_network
from mixmask_solo.evaluation.run_knn import (
    MOCO,
    SOLO_LEARN,
    Protocol,
    evaluate_knn,
    evaluation_data,
)
from mixmask_solo.records.pretrained import Pretrained, read_pretrained


@pytest.fixture(scope="module")
def start(untrained_folder: Path) -> dict[str, Any]:
    return evaluate_knn(untrained_folder, baselines=True)


def row(result: dict[str, Any], network: str, features: str) -> dict[str, Any]:
    [found] = [r for r in result["rows"] if (r["network"], r["features"]) == (network, features)]
    return found


def test_both_published_protocols_run_by_default(start: dict[str, Any]) -> None:
    assert row(start, "trained", "backbone")["temperature"] == SOLO_LEARN.temperature[0]
    assert row(start, "trained", "projector")["k"] == MOCO.k[0]
    assert start["trained"] == row(start, "trained", "backbone")["acc1"]
    assert (start["train_images"], start["test_images"]) == (1442, 355)
    json.dumps(start)


def test_the_untrained_network_is_the_runs_own_start(start: dict[str, Any]) -> None:
    for features in ("backbone", "projector"):
        mine, its = (row(start, network, features) for network in ("trained", "untrained"))
        assert mine["acc1"] == its["acc1"]
        assert mine["acc5"] == its["acc5"]


def test_pixels_are_a_strong_baseline_on_digits(start: dict[str, Any]) -> None:
    assert start["pixels"] > 95  # known: 98.3 % with k = 1
    assert {r["k"] for r in start["rows"] if r["network"] == "pixels"} == {20, 200}


def test_training_shows_and_draws_no_global_number(run_folder: Path, start: dict[str, Any]) -> None:
    before = torch.random.get_rng_state()
    result = evaluate_knn(run_folder, protocols=[Protocol(k=(1, 20))])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [r["k"] for r in result["rows"]] == [1, 20]
    assert result["rows"][1]["acc1"] != start["trained"]
    assert "pixels" not in result


def test_images_have_the_size_the_network_was_trained_on(
    run_folder: Path, pretrain_cfg: DictConfig
) -> None:
    from omegaconf import OmegaConf

    config: Any = OmegaConf.to_container(pretrain_cfg)
    config["augmentations"][0]["mean"] = [0.0, 0.0, 0.0]
    pretrained = Pretrained(run_folder / "last.ckpt", config, {})
    images = evaluation_data(pretrained, {}, 8)
    still = images.task.still
    assert (still.crop_size, still.mean) == (24, (0.0, 0.0, 0.0))
    other = evaluation_data(
        pretrained, {"dataset": "cifar10", "train_path": "a", "val_path": "b"}, 8
    )
    assert (other.task.still.crop_size, other.task.still.mean) == (32, other.task.dataset.mean)
    assert other.block["train_path"] == "a"


def test_another_data_set_needs_its_own_paths(run_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.train_path is missing"):
        evaluate_knn(run_folder, data={"dataset": "cifar10"})


def test_weights_alone_need_network_and_data(tmp_path: Path, run_folder: Path) -> None:
    state = torch.load(run_folder / "last.ckpt", weights_only=True)["state_dict"]
    plain = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    torch.save(plain, tmp_path / "plain.pth")
    with pytest.raises(ConfigError, match=r"data\.dataset is missing"):
        evaluate_knn(tmp_path / "plain.pth")
    digits = {"dataset": "digits", "num_workers": 0}
    with pytest.raises(ConfigError, match=r"backbone\.name is missing"):
        evaluate_knn(tmp_path / "plain.pth", data=digits)
    result = evaluate_knn(tmp_path / "plain.pth", data=digits, backbone={"name": "resnet10t"})
    assert [r["features"] for r in result["rows"]] == ["backbone"]
    with pytest.raises(ConfigError, match="feature_type is projector"):
        evaluate_knn(
            tmp_path / "plain.pth", data=digits, backbone={"name": "resnet10t"}, protocols=[MOCO]
        )


def test_a_projector_of_another_run_is_refused(tmp_path: Path, run_folder: Path) -> None:
    config = json.loads((run_folder / "args.json").read_text())
    config["method_kwargs"]["proj_output_dim"] = 8
    (tmp_path / "args.json").write_text(json.dumps(config))
    (tmp_path / "last.ckpt").write_bytes((run_folder / "last.ckpt").read_bytes())
    with pytest.raises(ConfigError, match=r"method's projector: 2\.weight is 16x32 in the file"):
        evaluate_knn(tmp_path)


def test_blocks_that_an_evaluation_has_no_use_for_are_left_unread(
    tmp_path: Path, run_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    config = json.loads((folder / "args.json").read_text())
    config["method_kwargs"] |= {"mixmask": {"a_later_key": 1}, "gone": {"x": 1}}
    (folder / "args.json").write_text(json.dumps(config))
    pretrained = read_pretrained(folder)
    for projector in (False, True):
        network = load_network(pretrained, projector=projector)
        expected = load_network(read_pretrained(run_folder), projector=projector)
        a, b = network.state_dict(), expected.state_dict()
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert {m.split(": ")[0] for m in caplog.messages} == {
        "the checkpoint was trained with method_kwargs.gone"
    }


@pytest.mark.parametrize(("device", "why"), [("gpu", "cannot be used"), ("mps", "float64")])
def test_an_impossible_device(run_folder: Path, device: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"device is '{device}'.*{why}"):
        evaluate_knn(run_folder, device=device)
