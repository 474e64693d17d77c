# SPDX-License-Identifier: MIT
"""What is done with a whole data set at once: reading it through, storing it in another way."""

from mixmask_solo.data.sources.reading import open_config, open_path
from mixmask_solo.data.tools.check import Report, check
from mixmask_solo.data.tools.convert import TARGETS, Converted, convert

__all__ = ["TARGETS", "Converted", "Report", "check", "convert", "open_config", "open_path"]
