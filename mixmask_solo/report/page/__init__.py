# SPDX-License-Identifier: MIT
"""Runs as one HTML page that needs nothing from outside. Only ``samples`` loads torch."""
