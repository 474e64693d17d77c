# SPDX-License-Identifier: MIT
"""Runs as they lie in a tree of folders: the folders are the truth, nothing here changes one."""
