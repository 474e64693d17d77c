# SPDX-License-Identifier: MIT
"""Decoders timed beside a training step."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from mixmask_solo.bench.data_bench import Bench, Rate, alone, bench, variants
from mixmask_solo.bench.step_need import make_step
from mixmask_solo.cli.compose import compose
from mixmask_solo.config import ConfigError
from mixmask_solo.report.data import bench_text, verdict

DIGITS = ("scripts/pretrain/digits", "simclr_mixmask")
QUICK = ("data.num_workers=0", "optimizer.batch_size=4", "backbone.name=resnet10t")


def small(name):
    cfg = compose(DIGITS[0], f"{name}_mixmask", QUICK)
    cfg.augmentations[0].crop_size = 8
    return cfg


def result(chosen="pil", *rates):
    return Bench(list(rates), [1000.0], False, "cuda:0", chosen, 256, 0, 8)


def test_a_step_and_two_decoders_are_measured():
    found = bench(small("simclr"), decoders=["pil", "resident"], seconds=0.05, repeats=2)
    assert [rate.name for rate in found.decoders] == ["pil", "resident"]
    assert all(len(rate.rates) == 2 and rate.median > 0 for rate in found.decoders)
    assert len(found.needs) == 2
    assert found.need > 0
    assert found.chosen == "pil"
    assert "resident" in bench_text(found)


@pytest.mark.parametrize("method", ["mocov2plus", "simsiam"])
def test_a_step_of_every_method_can_be_timed(method):
    found = bench(small(method), decoders=["pil"], seconds=0.01, repeats=1)
    assert found.need > 0


def test_a_method_whose_step_cannot_be_timed_is_refused():
    cfg = alone(small("simclr"))
    cfg.method = "dino"  # of solo-learn
    with pytest.raises(ConfigError, match=r"method is dino: steps of byol, .* as --need"):
        make_step(cfg, torch.device("cpu"))


def test_each_decoder_reads_the_storage_of_the_configuration():
    cfg = OmegaConf.create(
        {"data": {"dataset": "imagenet", "format": "parquet", "train_path": "x"}}
    )
    found = variants(cfg)
    assert [v.data.format for v in found.values()] == ["parquet", "resident", "dali", "dali"]
    assert {v.data.storage for v in found.values()} == {"auto", "parquet"}
    assert [v.get("dali", {}).get("device") for v in found.values()][2:] == ["cpu", "gpu"]


def test_who_works_beside_the_network_is_waited_for_who_works_in_its_place_is_added():
    beside, instead = Rate("dali gpu", "", [500.0]), Rate("resident", "", [500.0], overlaps=False)
    found = result("pil", beside, instead)
    assert found.data_share(beside) == 2
    assert found.waiting(beside) == pytest.approx(0.5)
    assert found.waiting(instead) == pytest.approx(2 / 3)
    assert found.waiting(Rate("pil", "", [2000.0])) == 0


def test_the_verdict_names_the_remedy():
    pil, dali = Rate("pil", "", [166.0]), Rate("dali gpu", "data.format=dali", [3200.0])
    line = verdict(result("pil", pil, dali))
    assert line.startswith("the network would wait 83% of the time: pil gives ")
    assert "use data.format=dali dali.device=gpu (3,200, waiting 0%)" in line
    assert verdict(result("dali gpu", pil, dali)).startswith("the network would not wait")
    assert "no other decoder here is faster" in verdict(result("pil", pil))
    gone = Rate("dali gpu", "", problem="there is no CUDA device")
    assert verdict(result("dali gpu", pil, gone)).startswith("dali gpu cannot run here")


def test_an_unknown_decoder_is_refused():
    with pytest.raises(ConfigError, match="--decoders is 'dalli': choose"):
        bench(compose(*DIGITS, QUICK), decoders=["dalli"], need=1.0)
