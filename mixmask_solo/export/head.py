# SPDX-License-Identifier: MIT
"""The projector of a file, loaded and used."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from mixmask_solo.export.source import Outputs, Source


@torch.no_grad()
def head_outputs(source: Source, weights: Mapping[str, Tensor], outputs: Outputs) -> Outputs:
    """``outputs`` with the ``z`` of a file's projector, where the source has one.

    Raises:
        RuntimeError: where a weight of it is missing or left over.
    """
    if source.projector is None:
        return outputs
    empty = copy.deepcopy(source.projector)
    for tensor in empty.state_dict().values():
        tensor.zero_()  # nothing may stay of what it was copied from
    of_head = {k.removeprefix("projector."): v for k, v in weights.items() if "backbone." not in k}
    empty.load_state_dict(of_head)
    return {**outputs, "z": empty(outputs["feats"])}
