# SPDX-License-Identifier: MIT
"""Shared YAML, found by Hydra through ``hydra.searchpath: [pkg://mixmask_solo.config.groups]``."""
