# SPDX-License-Identifier: MIT
"""Object detection and instance segmentation on a pretrained ResNet, built of torchvision's parts.

What Detectron2's configuration files of MoCo, Un-Mix and MixMask say, where torchvision's own
detectors differ: losses are plain L1, anchors are not rounded, RoIAlign is aligned, nothing is
frozen, norm layers have one weight decay of their own.
"""
