# SPDX-License-Identifier: MIT
"""MixMask and its relatives for siamese self-supervised learning of ConvNets.

Importing this package loads nothing else and changes nothing elsewhere; the parts are imported
by name (``mixmask_solo.masks``, ``mixmask_solo.mixtures``, ``mixmask_solo.methods``, ...).
:func:`register` makes solo-learn's own scripts know our methods.
"""

from mixmask_solo.registration import register

__all__ = ["__version__", "register"]

__version__ = "0.1.0"
