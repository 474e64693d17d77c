# SPDX-License-Identifier: MIT
"""Part of the training images held out: what is chosen on them is not chosen on the test images."""

import numpy as np

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import Source, Subset


def hold_out(source: Source, share: float, seed: int) -> tuple[Source, Source]:
    """The images to train on and ``share`` of each class that is kept apart, both in order.

    Which ones depends on labels and ``seed`` alone.

    Raises:
        ConfigError: where a class is too small to be divided.
    """
    from sklearn.model_selection import train_test_split

    try:
        kept, held = train_test_split(
            np.arange(len(source)), test_size=share, stratify=source.labels, random_state=seed
        )
    except ValueError as error:
        raise ConfigError(
            f"probe.holdout is {share}: {str(error).rstrip('.')}; hold out more, or set "
            "probe.holdout=null"
        ) from None
    return Subset(source, np.sort(kept)), Subset(source, np.sort(held))
