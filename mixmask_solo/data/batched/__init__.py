# SPDX-License-Identifier: MIT
"""Augmentation of whole batches of images."""
