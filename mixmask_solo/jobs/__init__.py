# SPDX-License-Identifier: MIT
"""Commands in processes of their own: here, or on a cluster through Slurm."""
