# SPDX-License-Identifier: MIT
"""The block ``performance``: what it changes of a run, and what of its checkpoints it must not."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.network import load_network
from mixmask_solo.host.builtin import LinearModel
from mixmask_solo.records.pretrained import read_pretrained
from mixmask_solo.runs.performance import apply_performance
from mixmask_solo.runs.pretrain import pretrain
from support.methods import method_config
from support.tiny import config, interrupted, weights

_PLAIN = {"disable_channel_last": False, "compile": False, "tf32": False}
_CPU = torch.device("cpu")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the compiler but its code generator: same numbers, and no minute for a ResNet."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


@pytest.mark.slow
@pytest.mark.parametrize("first", [False, True])
def test_checkpoints_with_and_without_are_the_same(
    first: bool, traced: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """A run that changes over in the middle ends as one that never compiled."""

    def run(folder: str, compiled: bool, **more: Any) -> Any:
        return config(tmp_path / folder, performance={"compile": compiled}, max_epochs=2, **more)

    whole = Path(pretrain(run("whole", False))["directory"]) / "last.ckpt"
    saved = interrupted(monkeypatch, run("cut", first))
    told = capfd.readouterr().err
    assert told.count("compiled  the networks, in the first steps") == first
    resumed = pretrain(run("cut", not first, resume_from_checkpoint=str(saved)))
    ended, expected = weights(Path(resumed["directory"]) / "last.ckpt"), weights(whole)
    assert list(ended) == list(expected)
    assert all(map(torch.equal, ended.values(), expected.values()))
    network = load_network(read_pretrained(str(saved), "online"), backbone=None, dataset="digits")
    assert not any("_orig_mod" in name for name in (*network.state_dict(), *weights(saved)))
    begun = pretrain(run("new", not first, init_from=str(saved), limit_train_batches=1))
    assert begun["status"] == "completed"


@pytest.mark.parametrize("why", ["no compiler", "no torch.compile for this Python"])
def test_what_cannot_be_compiled_is_one_line(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    if why == "no compiler":
        import torch._inductor.config as inductor

        monkeypatch.setattr(inductor.cpp, "cxx", (None, "/nonexistent/c++"))
        reason = "InvalidCxxCompiler.*/nonexistent/c"
    else:
        reason = "Dynamo is not supported on Python 3.99"

        def refuse(*_: Any, **__: Any) -> None:
            raise RuntimeError(reason)

        monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(ConfigError, match=f"^performance.compile is true: .*{reason}") as error:
        apply_performance(nn.Linear(1, 1), OmegaConf.create({**_PLAIN, "compile": True}), _CPU)
    assert str(error.value).endswith("set performance.compile=false")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("finetune", [False, True])
def test_the_backbone_of_a_probe_is_compiled_frozen_or_not(finetune: bool, traced: None) -> None:
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    backbone.num_features = 4 * 6 * 6  # type: ignore[assignment]
    more = {"finetune": finetune, "performance": {**_PLAIN, "compile": True}}
    model = LinearModel(backbone, method_config("simclr", **more)).train()
    apply_performance(model, model.cfg.performance, _CPU)
    torch._dynamo.utils.counters.clear()
    for _ in range(2):
        model(torch.rand(2, 3, 8, 8))
    model.eval()(torch.rand(3, 3, 8, 8))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_tf32_is_what_the_run_says_whatever_the_process_did_before() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        for tf32, precision in ((True, "high"), (False, "highest")):
            performance = OmegaConf.create({**_PLAIN, "tf32": tf32})
            apply_performance(nn.Linear(1, 1), performance, _CPU)
            assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
