# SPDX-License-Identifier: MIT
"""MixMask and its relatives for siamese self-supervised learning of ConvNets.

Importing this package loads nothing else and changes nothing elsewhere; the parts are imported
by name (``mixmask_solo.masks``, ``mixmask_solo.mixtures``, ``mixmask_solo.methods``, ...).
"""

__version__ = "0.1.0"
