# SPDX-License-Identifier: MIT
"""Which metrics share a panel, and what they are called there."""

from __future__ import annotations

from mixmask_solo.report.panels import AP, PANELS, label_of, panel


def test_a_detectors_precisions_are_one_panel() -> None:
    names = ("val_box_ap", "val_box_ap50", "val_box_ap_small", "val_mask_ap75", "val_voc_ap")
    found = panel({name: {0: float(i)} for i, name in enumerate(names)}, PANELS[AP])
    assert [label_of(name) for name in found] == ["box AP", "box AP50", "mask AP75", "VOC AP"]
