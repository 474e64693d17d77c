# SPDX-License-Identifier: MIT
"""Images that are not there are told before a table trains for days."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mixmask_solo.tables.absent import image_paths, without_images


def test_the_paths_of_a_configuration(tmp_path: Path) -> None:
    data = {"train_path": ["a", "b"], "val_path": None, "val_images": "c", "root": "d"}
    expected = [("data.train_path", "a"), ("data.train_path", "b"), ("data.val_images", "c")]
    assert image_paths({"data": data}) == expected
    assert image_paths({"data": {"train_path": "shards/{000..099}.tar", "val_path": "v/*"}}) == []
    assert image_paths({}) == []


@pytest.mark.parametrize(
    ("there", "trained", "left_out"),
    [
        ({"train", "probe"}, False, []),
        ({"train"}, False, ["linear"]),  # a later measurement
        ({"probe"}, False, ["knn", "linear"]),
        ({"probe"}, True, ["knn"]),  # whose images are the training's
        (set(), True, ["knn", "linear"]),
    ],
)
def test_measurements_without_images_are_taken_off(
    tmp_path: Path, there: set[str], trained: bool, left_out: list[str]
) -> None:
    for name in there:
        (tmp_path / name).mkdir()

    def measured(name: str, recipe: Path | None, paths: list[tuple[str, str]]) -> Any:
        return SimpleNamespace(cells=[SimpleNamespace(id=name)], recipe=recipe, paths=paths)

    probe = [("data.val_path", str(tmp_path / "probe"))]
    both = [measured("knn", None, []), measured("linear", Path("probe.yaml"), probe)]
    train = [("data.train_path", str(tmp_path / "train"))]
    training = SimpleNamespace(paths=train, evaluations=[*both])
    run: Any = SimpleNamespace(training=training, trained=trained, evaluations=both)
    reasons = without_images([run], take_off=False)
    assert list(reasons) == left_out
    assert training.evaluations == both
    assert without_images([run], take_off=True) == reasons
    assert [e.cells[0].id for e in training.evaluations] == [
        name for name in ("knn", "linear") if name not in left_out
    ]
    for reason in reasons.values():
        assert reason.endswith("which is not there: give it for its data set in --site FILE")
