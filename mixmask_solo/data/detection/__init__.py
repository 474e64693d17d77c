# SPDX-License-Identifier: MIT
"""Images with boxes and masks: Pascal VOC's layout, COCO's JSON."""
