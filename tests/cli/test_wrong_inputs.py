# SPDX-License-Identifier: MIT
"""What a user may type wrong: status 2, one line, and what to do about it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

ROOT = Path(__file__).parents[2]
FOLDER = "--config-path scripts/pretrain/digits"
PLAIN = f"{FOLDER} --config-name simclr"
MIXED = f"{FOLDER} --config-name simclr_mixmask"
PROBE = "--config-path scripts/linear/digits --config-name sgd"
SLURM = "--slurm scripts/slurm/cpu.yaml --dry-run"

# command line -> what its line has to say
CASES: list[tuple[str, list[str]]] = [
    # which file
    ("pretrain foo", ["give --config-path FOLDER and --config-name FILE"]),
    ("pretrain --config-name simclr", ["--config-name simclr", "give --config-path"]),
    (f"pretrain {FOLDER}", ["give --config-path FOLDER and --config-name FILE"]),
    (f"pretrain {FOLDER}x --config-name a", ["digitsx: no such folder"]),
    (f"pretrain {FOLDER} --config-name simclr_mixmsk", ["did you mean simclr_mixmask?"]),
    (f"pretrain {FOLDER} --config-name simclr_mix.yaml", ["no such file", "it holds simclr_m"]),
    ("pretrain --config-path scripts/pretrain --config-name x", ["no YAML file", "cifar, digits"]),
    (f"linear {FOLDER} --config-name sgd", ["no such file in", "it holds"]),
    # options
    (f"pretrain --confg-path {PLAIN}", ["unknown option --confg-path", "--config-path?"]),
    (f"pretrain {PLAIN} --multrun", ["unknown option --multrun (did you mean --multirun?)"]),
    (f"linear {PROBE} --conf x", ["ambiguous option: --conf", "--config-name"]),
    ("knn --pretrained_checkpoint a --devise cpu", ["unknown argument --devise", "--device?"]),
    ("data chck x", ["invalid choice: 'chck'", "did you mean check?"]),
    ("data check x --jsn y", ["unknown argument --jsn (did you mean --json?)"]),
    (f"gallery {PLAIN} --ot x", ["unknown argument --ot (did you mean --out?)"]),
    ("curves --out x.png", ["RUN"]),
    ("export a.ckpt --to tim", ["invalid choice: 'tim'", "did you mean timm?"]),
    ("submit status --foldr x", ["unknown argument --foldr", "--folder?"]),
    # keys
    (f"pretrain {MIXED} optimizer.bacth_size=3", ["did you mean optimizer.batch_size=3?"]),
    (f"pretrain optimizer.bacth_size=3 {MIXED}", ["did you mean optimizer.batch_size=3?"]),
    (f"pretrain {MIXED} optimzer.lr=0.1", ["did you mean optimizer.lr=0.1?"]),
    (f"pretrain {MIXED} lr=0.1", ["lr: there is no such key", "optimizer.lr=0.1?"]),
    (f"pretrain {MIXED} max_epoch=3", ["did you mean max_epochs=3?"]),
    (f"pretrain {MIXED} mixmask.grid_size=4", ["did you mean method_kwargs.mixmask.grid_size=4"]),
    (f"pretrain {PLAIN} mixmask.grid_size=4", ["+method_kwargs.mixmask.grid_size=4?"]),
    (f"pretrain {PLAIN} unmix.prob=1", ["did you mean +method_kwargs.unmix.prob=1?"]),
    (f"pretrain {PLAIN} method_kwargs.mixmask.grid_size=4", ["add it with a +: +method_kwargs."]),
    (f"pretrain {PLAIN} method_kwargs.mixmask.gridsize=4", ["+method_kwargs.mixmask.grid_size=4"]),
    (f"pretrain {PLAIN} timeout=2", ["no such key yet", "add it with a +: +timeout=2"]),
    (f"pretrain {PLAIN} +method_kwargs.mixmsk.grid_size=4", ["mean mixmask?", "blocks are"]),
    (f"pretrain {PLAIN} +method_kwargs.erase.fil=zero", ["erase.fil (did you mean fill?)"]),
    (f"pretrain {MIXED} +method_kwargs.mixmask.grid_size=4", ["has this key", "leave out the +"]),
    (f"pretrain {MIXED} zzz=1", ["zzz: there is no such key"]),
    (f"pretrain -m {MIXED} zzz.y=1", ["zzz.y: there is no such key"]),
    (f"pretrain {MIXED} hardware=gpu", ["a group of files", "+hardware=gpu"]),
    (f"linear {PROBE} optimizer.lrr=1", ["did you mean optimizer.lr=1?"]),
    (f"gallery {MIXED} optimizer.bacth_size=3", ["did you mean optimizer.batch_size=3?"]),
    (f"gallery optimizer.bacth_size=3 {MIXED} max_epochs=1", ["optimizer.batch_size=3?"]),
    (f"data bench {MIXED} dta.num_workers=1", ["did you mean data.num_workers=1?"]),
    (f"submit {SLURM} -- mixmask-pretrain {MIXED} lr=1", ["did you mean optimizer.lr=1?"]),
    (f"submit {SLURM} -- mixmask-pretrain {FOLDER} --config-name simc", ["no such file", "simclr"]),
    # values
    (f"pretrain {MIXED} max_epochs", ["'max_epochs' is no override: give key=value"]),
    (f"pretrain {MIXED} optimizer.lr=0.1,0.3", ["a sweep, which -m asks for", "[0.1,0.3]"]),
    (f"pretrain {MIXED} augmentations=[1", ["'augmentations=[1' cannot be read", "closed"]),
    (f"pretrain {MIXED} name='a", ["cannot be read", "closed"]),
    (f"pretrain {MIXED} optimizer.lr=[0.1,0.3]", ["optimizer.lr is [0.1, 0.3]", "a number"]),
    (f"pretrain {MIXED} method_kwargs.mixmask.grid_size=[2,4]", ["is [2, 4]", "whole number"]),
    (f"pretrain {MIXED} method_kwargs.mixmask.mask_type=blok", ["mean block?"]),
    (f"pretrain {MIXED} data.dataset=cifr10", ["did you mean cifar10?"]),
    (f"pretrain {MIXED} backbone.name=resnet19", ["resnet19", "near it are resnet18, "]),
    (f"pretrain {MIXED} method=simclrr", ["did you mean simclr?"]),
    (f"pretrain {MIXED} data.dataset=cifar10 ++data.train_path=/no/such", ["/no/such"]),
    ("knn --pretrained_checkpoint /no/such.ckpt", ["/no/such.ckpt"]),
    ("knn --pretrained_checkpoint_dir {empty}", ["holds no *.ckpt", "give the folder of one run"]),
    ("knn --pretrained_checkpoint a --k 0", ["'0' is no whole number of at least 1"]),
    (f"linear {PROBE} pretrained_feature_extractor=/no/such.ckpt", ["/no/such.ckpt"]),
    ("curves {empty}", ["there is no metrics.csv", "folder of a run"]),
    ("curves /no/such", ["/no/such"]),
    ("data check /no/such", ["/no/such"]),
    (f"gallery {MIXED} -n 0", ["-n is 0: give at least 1 image"]),
    # files
    ("pretrain --config-path {files} --config-name tab", ["line 2", "by spaces, not by tabs"]),
    ("pretrain --config-path {files} --config-name torn", ["torn.yaml, line"]),
    ("pretrain --config-path {files} --config-name empty_block", ["mixmask is empty", "{{}}"]),
    ("gallery --config-path {files} --config-name empty_block", ["mixmask is empty", "{{}}"]),
    ("pretrain --config-path {files} --config-name unknown", ["methd (did you mean method?)"]),
]


def test_there_are_sixty_and_none_twice() -> None:
    assert len({line for line, _ in CASES}) == len(CASES) >= 60


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Folders that the table names."""
    found = {name: tmp_path / name for name in ("empty", "files")}
    for folder in found.values():
        folder.mkdir()
    base = (ROOT / "scripts/pretrain/digits/simclr.yaml").read_text() + "max_epochs: 1\n"
    base += "" if "\nmethod_kwargs:" in base else "method_kwargs:\n"
    files = {
        "tab": "a: 1\n\tb: 2\n",
        "torn": "a: {b: 1\n",
        "empty_block": base.replace("method_kwargs:", "method_kwargs:\n  mixmask:", 1),
        "unknown": base + "methd: byol\n",
    }
    for name, text in files.items():
        (found["files"] / f"{name}.yaml").write_text(text)
    return found


@pytest.mark.parametrize(("line", "told"), CASES, ids=[line[:70] for line, _ in CASES])
def test_one_line_says_what_to_do(
    line: str,
    told: list[str],
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    name, *words = line.format(**places).split()
    if name in ("pretrain", "linear"):
        words.append(f"checkpoint.dir={tmp_path / 'runs'}")
    module: Any = importlib.import_module(f"mixmask_solo.cli.{name}")
    monkeypatch.setattr(sys, "argv", [f"mixmask-{name}", *words])
    before = sorted(p for p in tmp_path.rglob("*"))
    try:
        with pytest.raises(SystemExit) as stop:
            module.main()
    finally:
        GlobalHydra.instance().clear()
    out, err = capfd.readouterr()
    assert stop.value.code == 2, err
    assert not out
    banner = ("run ", "mixmask ", "data ", "training ", "device ", "folder ", " ")
    lines = [x for x in err.splitlines() if not x.startswith(("INFO", "WARNING", *banner))]
    assert len(lines) == 1, err
    assert lines[0].startswith(f"mixmask-{name}")
    for part in told:
        assert part.format() in lines[0]
    assert sorted(p for p in tmp_path.rglob("*")) == before
