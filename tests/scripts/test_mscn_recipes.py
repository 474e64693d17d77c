# SPDX-License-Identifier: MIT
"""MSCN's recipes: whose values each block has, and what else differs from the method's own file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.config import to_values
from mixmask_solo.runs.contradictions import differences
from mixmask_solo.strategies.mscn import MSCNOptions

PAPER = {"sigma": 5.0, "patch_size": 32, "mask_ratio": 0.15, "focal": 0.4, "extra_views": 2}
AUTHORS = {"kernel": 11, "channel_wise": 0.7, "noise_std": 0.18, "key_noise_std": 0.14}
SALIENCY = {"mask_ratio": [0.05, 0.25], "focal": 0.2, "views": "query", "extra_views": 0}
FILES: dict[tuple[str, str], tuple[dict[str, Any], set[str]]] = {
    ("imagenet", "mocov2_mscn"): (PAPER, set()),
    ("imagenet", "simclr_mscn"): (
        PAPER,
        {"method_kwargs.proj_output_dim", "method_kwargs.temperature", "max_epochs"},
    ),
    ("imagenet-100", "mocov2_mscn"): (SALIENCY, set()),
    ("imagenet-100", "simclr_mscn"): (SALIENCY, set()),
    ("digits", "simclr_mscn"): (PAPER | {"patch_size": 8}, set()),
}


@pytest.mark.parametrize(("dataset", "name"), FILES)
def test_a_recipe_is_the_methods_plus_its_block(dataset: str, name: str, recipe: Any) -> None:
    expected, others = FILES[dataset, name]
    plain = name.partition("_")[0]
    if (dataset, plain) == ("imagenet-100", "simclr"):
        plain = "simclr_resnet50"  # the vanilla of the same table
    vanilla, masked = (to_values(recipe(dataset, n)) for n in (plain, name))
    block = masked["method_kwargs"]["mscn"]
    assert {key: block[key] for key in expected} == expected
    assert {key: block[key] for key in AUTHORS} == AUTHORS
    extra = {"data.num_extra_crops"} if block["extra_views"] else set()
    found = {d.key for d in differences(vanilla, masked)}
    assert found == {"name", "method_kwargs.mscn"} | others | extra


def test_what_mscns_paper_states_of_its_simclr(recipe: Any) -> None:
    cfg = recipe("imagenet", "simclr_mscn")
    processes = len(cfg.devices) * cfg.num_nodes
    assert cfg.optimizer.batch_size * processes == 4096
    assert cfg.optimizer.lr == pytest.approx(4.8)
    assert (cfg.optimizer.name, cfg.max_epochs, cfg.scheduler.warmup_epochs) == ("lars", 800, 10)
    kwargs = cfg.method_kwargs
    head = (kwargs.head, kwargs.proj_hidden_dim, kwargs.proj_output_dim, kwargs.temperature)
    assert head == ("google", 2048, 256, 0.2)


def test_what_saliency_guided_masking_states_of_its_simclr(recipe: Any) -> None:
    cfg = recipe("imagenet-100", "simclr_mscn")
    assert (cfg.backbone.name, cfg.optimizer.name, cfg.max_epochs) == ("resnet50", "lars", 200)
    assert cfg.optimizer.batch_size * len(cfg.devices) == 256
    assert cfg.optimizer.lr == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("mask_ratio=0.5", "mask_ratio", 0.5),  # Fig. 5a
        ("patch_size=16", "patch_size", 16),  # Fig. 5b
        ("focal=0", "focal", 0.0),  # Fig. 5c
        ("channel_wise=0", "channel_wise", 0.0),  # Fig. 5d
        ("sigma=2", "sigma", 2.0),  # Fig. 6
        ("high_pass=false", "high_pass", False),
        ("noise_std=0", "noise_std", 0.0),
        ("same_view=true", "same_view", True),  # Table 5
        ("extra_views=0", "extra_views", 0),
        ("views=query", "views", "query"),
    ],
)
def test_each_ablation_is_one_override(override: str, key: str, value: Any, recipe: Any) -> None:
    cfg = recipe("imagenet", "simclr_mscn", f"++method_kwargs.mscn.{override}")
    assert cfg.method_kwargs.mscn[key] == value
    assert key in MSCNOptions.__dataclass_fields__


def test_the_heads_give_the_figures_of_the_tables() -> None:
    folder = Path(__file__).parents[2] / "scripts" / "pretrain"
    figures = {
        "imagenet/mocov2_mscn": ("68.2 %", "71.5 %"),
        "imagenet/simclr_mscn": ("65.6 %", "29.1 %"),
        "imagenet-100/mocov2_mscn": ("70.3 %",),
        "imagenet-100/simclr_mscn": ("77.2 %",),
    }
    for name, said in figures.items():
        head = (folder / f"{name}.yaml").read_text().partition("defaults:")[0]
        assert all(figure in head for figure in said)
