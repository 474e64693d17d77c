# SPDX-License-Identifier: MIT
"""How fast this machine decodes and trains."""
