# SPDX-License-Identifier: MIT
"""``data.format: dali``: NVIDIA DALI decodes, batched torch operations augment.

One decoding serves all views. On a GPU DALI decodes and resizes there; on the CPU it decodes the
part of each image that any view shows, and torch's 8-bit resize, several times as fast as DALI's
(``benchmarks/dali_cpu.py``), makes the views. Colours, blur and the rest are those of
``data.batched`` on both, for one meaning everywhere.
"""
