# SPDX-License-Identifier: MIT
"""Commands: parse, check, call, print one line."""
