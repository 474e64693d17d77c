# SPDX-License-Identifier: MIT
"""What makes solo-learn's own, unmodified scripts understand our YAML blocks.

Every Hydra application imports it when it starts. solo-learn's scripts have imported
``solo.methods`` by then, so that is the moment to put our classes into its registry; to others it
must cost next to nothing, so only the standard library and Hydra are imported at the top.
"""

import logging
import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

__all__ = ["GROUPS", "MixMaskSearchPath"]

GROUPS = "pkg://mixmask_solo.config.groups"


class MixMaskSearchPath(SearchPathPlugin):
    """Appends our groups to Hydra's search path: a group of the user's own goes before ours."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """See Hydra."""
        search_path.append(provider="mixmask_solo", path=GROUPS)


def _register_beside_solo_learn() -> None:
    """Registers where solo-learn is in use; whatever goes wrong is one warning, never an error."""
    if "solo.methods" not in sys.modules:
        return
    try:
        from mixmask_solo import register

        register()
    except Exception as error:  # the user's script may well do without us
        # Hydra may run this file again, always in the module object it keeps, and would present
        # what comes by the warnings module as a bug of this plugin.
        if not globals().get("_warned"):
            globals()["_warned"] = True
            log = logging.getLogger("mixmask_solo")
            log.warning("MixMask is not available in this solo-learn: %s", error)


_register_beside_solo_learn()
