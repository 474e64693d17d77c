# SPDX-License-Identifier: MIT
"""What a run leaves behind and others read: checkpoints, ``result.json``, damaged images."""
