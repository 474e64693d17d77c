# SPDX-License-Identifier: MIT
"""``data.format: resident``: data sets that fit, decoded once and augmented in batches."""
