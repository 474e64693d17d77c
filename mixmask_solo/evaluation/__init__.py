# SPDX-License-Identifier: MIT
"""Measuring a pretrained network: features, k-NN, frozen backbones for probes."""
