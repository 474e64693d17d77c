# SPDX-License-Identifier: MIT
"""Advice can be pasted into a shell whatever the paths hold."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mixmask_solo.cli.compose import hydra_value, resume_command
from mixmask_solo.config import to_values
from mixmask_solo.config.check import literal

NASTY = "=,:;()[]{}<>|&*?!#~^%@+-_/\\'\"`$ \té😀Ω"
# A line is a line: no path of ours holds a line break.
ANYTHING = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\n\r\0"), min_size=1
)
PATHS = st.one_of(ANYTHING, st.text(NASTY + "ab1", min_size=1))
ODD = (
    "a=b, c/[1]{2}",
    'it\'s "so"',
    "$HOME/${x}",
    "\\${x}",
    "\\\\${oc.env:HOME}",
    "a\\",
    'a\\"',
    "a\\'",
    " ends blank ",
    "1e5/null",
    "runs/größe",
)


def odd(test):
    for text in ODD:
        test = example(text)(test)
    return test


@odd
@given(PATHS)
def test_hydras_parser_reads_the_value_back(text: str) -> None:
    [override] = OverridesParser.create().parse_overrides([f"++key={hydra_value(text)}"])
    assert not override.is_sweep_override()
    assert OmegaConf.create({"key": override.value()}).key == text


@odd
@given(PATHS)
def test_a_composed_configuration_holds_the_checkpoint(text: str) -> None:
    path = f"{text}.ckpt"
    _, *arguments = shlex.split(resume_command("mixmask-pretrain", [], path))
    folder = Path("scripts/pretrain/digits").resolve()
    with initialize_config_dir(str(folder.parent), version_base="1.3"):
        cfg = compose(overrides=arguments)
    assert to_values(cfg) == {"resume_from_checkpoint": path}


@odd
@given(PATHS)
def test_a_plain_value_goes_through_a_node_unchanged(text: str) -> None:
    path = f"{text}.ckpt"
    cfg = OmegaConf.create(literal({"a": [{"b": path}]}))
    assert to_values(cfg) == {"a": [{"b": path}]}


@pytest.mark.parametrize("text", ODD)
def test_a_shell_hands_the_arguments_over(text: str) -> None:
    given = [f"name={hydra_value(text)}", text]
    line = resume_command("printf", [r"%s\0", *given], f"{text}/last.ckpt")
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True)
    checkpoint = f"++resume_from_checkpoint={hydra_value(f'{text}/last.ckpt')}"
    assert done.stdout.decode().split("\0")[:-1] == [*given, checkpoint]


def test_what_was_said_about_resuming_before_is_left_out() -> None:
    before = [
        *("--config-path", "scripts/my runs", "--config-name=x", "-m", "--multirun"),
        *("resume_from_checkpoint=a/b.ckpt", '++resume_from_checkpoint="a\nb"', "lr=1"),
        *("~resume_from_checkpoint", "auto_resume.enabled=true", "+auto_resume={enabled: true}"),
        *("name=resume_from_checkpoint=x", "+my_auto_resume=1"),
    ]
    assert resume_command("mixmask-linear", before, "runs/a/last.ckpt") == (
        "mixmask-linear --config-path 'scripts/my runs' --config-name=x lr=1 "
        "name=resume_from_checkpoint=x +my_auto_resume=1 "
        "++resume_from_checkpoint=runs/a/last.ckpt"
    )
