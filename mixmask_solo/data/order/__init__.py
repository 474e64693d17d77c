# SPDX-License-Identifier: MIT
"""Which image when: the order of an epoch, its resumption, and the loaders that keep to it."""
