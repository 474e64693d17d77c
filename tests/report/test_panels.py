# SPDX-License-Identifier: MIT
"""Which metrics share a panel, and what they are called there."""

from __future__ import annotations

from mixmask_solo.report.panels import AP, PANELS, label_of, panel


def test_a_detectors_precisions_are_one_panel() -> None:
    names = ("val_box_ap", "val_box_ap50", "val_box_ap_small", "val_mask_ap75", "val_voc_ap")
    found = panel({name: {0: float(i)} for i, name in enumerate(names)}, PANELS[AP])
    assert [label_of(name) for name in found] == ["box AP", "box AP50", "mask AP75", "VOC AP"]


def test_precisions_that_are_equal_are_all_shown() -> None:
    zero = {0: 0.0, 9: 0.0}
    found = panel({"val_box_ap": zero, "val_mask_ap": dict(zero)}, PANELS[AP])
    assert [label_of(name) for name in found] == ["box AP", "mask AP"]


def test_a_sum_of_one_term_is_that_term() -> None:
    loss = {0: 2.0, 9: 1.0}
    found = panel({"train_loss": loss, "train_nce_loss": dict(loss)}, PANELS["loss terms"])
    assert list(found) == ["train_loss"]
