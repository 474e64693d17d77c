# SPDX-License-Identifier: MIT
"""The papers' tables: every cell a run of ours, and what came of it beside what was published."""
