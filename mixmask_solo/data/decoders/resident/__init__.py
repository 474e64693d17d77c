# SPDX-License-Identifier: MIT
"""``data.format: resident``: data sets that fit, decoded once and augmented in batches."""

from mixmask_solo.data.decoders.resident.decoder import Resident

__all__ = ["Resident"]
