# SPDX-License-Identifier: MIT
"""Runs: trainer, checkpoints, resuming, and what one watches meanwhile."""
