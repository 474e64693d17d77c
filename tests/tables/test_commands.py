# SPDX-License-Identifier: MIT
"""Command lines that a table makes of its cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mixmask_solo.tables.training import Training

Plan = Callable[..., list[Training]]


def test_probes_keep_their_batch_on_two_devices_too(plan: Plan) -> None:
    site = {"all": ["accelerator=cpu", "devices=2"]}
    [probe] = [e for e in plan(site=site)[0].evaluations if e.identity]
    assert "++optimizer.batch_size=128" in probe.overrides  # 256 in all
    assert probe.identity is not None
    assert probe.identity["optimizer"]["batch_size"] == 256


def test_a_knn_takes_images_from_where_the_site_has_them(plan: Plan) -> None:
    site = {"all": ["data.num_workers=3"], "digits": ['++data.val_path="/disk/a=b"', "devices=1"]}
    [knn] = [e for e in plan(site=site)[0].evaluations if e.identity is None]
    words = knn.command(Path("runs"), "run/last.ckpt", "run")
    assert words[words.index("--val_data_path") + 1] == "/disk/a=b"
    assert words[words.index("--num_workers") + 1] == "3"
    assert "--train_data_path" not in words  # of which the site says nothing: the run's own
    [plain] = [e for e in plan()[0].evaluations if e.identity is None]
    assert plain.overrides == []


def test_folders_with_signs_of_hydras_are_quoted(plan: Plan) -> None:
    training = plan()[0]
    assert 'checkpoint.dir="a=b,c"' in training.command(Path("a=b,c"))
    [probe] = [e for e in training.evaluations if e.identity]
    command = probe.command(Path("a=b"), "a=b/run/last.ckpt", "a=b/run")
    assert 'pretrained_feature_extractor="a=b/run/last.ckpt"' in command
    behind = probe.command(Path("runs"), "{checkpoint}", "{run}")
    assert "pretrained_feature_extractor={checkpoint}" in behind  # a job puts it in
