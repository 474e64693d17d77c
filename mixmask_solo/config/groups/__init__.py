# SPDX-License-Identifier: MIT
"""Shared YAML, found by Hydra through ``hydra.searchpath: [pkg://mixmask_solo.config.groups]``.

``recipe/<data set>/<method>`` is a whole pretraining run; it draws on ``run`` (trainer, logging),
``dataset`` (files, backbone), ``augmentations`` and the recipes that several data sets share.
``protocol`` holds the linear probes.
"""
