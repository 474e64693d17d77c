# SPDX-License-Identifier: MIT
"""Pictures and tables made from runs."""
