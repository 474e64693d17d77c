# SPDX-License-Identifier: MIT
"""Heads of the code bases behind the published numbers, in place of solo-learn's.

``method_kwargs.head`` of SimCLR: ``solo``, or ``htdt`` (htdt/self-supervised: Linear, BN, ReLU,
Linear, BN, where both norms see *all* views at once), or ``google`` (google-research/simclr: the
same, without any bias but the first norm's). Of SimSiam: ``solo``, or
``patrickhua`` (PatrickHua/SimSiam's two-layer projector: Linear, BN, ReLU, Linear, BN). BYOL's
solo-learn head is htdt's already. ``solo`` changes nothing: same parameters, same random stream.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mixmask_solo.config import ConfigError, did_you_mean, listing
from mixmask_solo.config.schema.method import HEADS

_Host: Any = object  # stands for either host's


def check_head(method: str, cfg: Any) -> None:
    """Raises ConfigError for a head that the method does not have.

    The schema says the same to runs of ours; under solo-learn's own scripts nobody else asks.
    """
    head = (cfg.get("method_kwargs") or {}).get("head")
    known = HEADS.get(method, ("solo",))
    if head is not None and head not in known:
        choices = f"choose {listing(known)}{did_you_mean(str(head), known)}"
        advice = choices if method in HEADS else f"{method} has one head only; remove the key"
        raise ConfigError(f"method_kwargs.head is {head!r}: {advice}")


class JointHead(nn.Sequential):
    """htdt's and Google's SimCLR projector: its norms see all views of a step at once.

    Called while training, it hands features ``(N, F)`` through: a view alone cannot be normalised,
    :meth:`joint` projects all of them. In evaluation mode it is an ordinary projector.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, *, bias: bool = True) -> None:
        super().__init__(*_two_layers(in_dim, hidden_dim, out_dim, bias=bias))
        self[-1].bias.requires_grad = bias  # it stays zero in Google's, which scales only

    def forward(self, input: Tensor) -> Tensor:
        """``(N, F)`` as it is while training, else its projection ``(N, D)``."""
        return input if self.training else super().forward(input)

    def joint(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Projections ``(N, D)`` of several ``(N, F)``, from one pass over all rows."""
        z = super().forward(torch.cat(list(feats)))
        return list(z.split([len(f) for f in feats]))


class JointViews(_Host):
    """Between SimCLR's strategies and its base: the host's loss sees jointly projected views."""

    projector: nn.Module

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """The base's ``out``, ``z`` of all views from one pass of the head.

        ``raw_z`` keeps what the head starts from, for pairs with mixed images.
        """
        out: Any = super().training_step(batch, batch_idx)
        if isinstance(self.projector, JointHead) and self.training:
            out["raw_z"], out["z"] = out["z"], self.projector.joint(out["z"])
        return out


class OtherHead(_Host):
    """Before a method that has a choice of heads: replaces its projector; a predictor stays."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        module: Any = self
        kwargs = module.cfg.method_kwargs
        make = _PROJECTORS.get(kwargs.get("head"))
        if make is not None:
            sizes = module.features_dim, kwargs.proj_hidden_dim, kwargs.proj_output_dim
            module.projector = make(*sizes)


def _two_layers(
    in_dim: int, hidden_dim: int, out_dim: int, *, bias: bool = True
) -> list[nn.Module]:
    return [
        nn.Linear(in_dim, hidden_dim, bias=bias),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(),
        nn.Linear(hidden_dim, out_dim, bias=bias),
        nn.BatchNorm1d(out_dim),
    ]


_PROJECTORS: dict[Any, Callable[[int, int, int], nn.Module]] = {
    "htdt": JointHead,
    "google": partial(JointHead, bias=False),
    "patrickhua": lambda *sizes: nn.Sequential(*_two_layers(*sizes)),
}
