# SPDX-License-Identifier: MIT
"""What a strategy is: options, and hooks around the host's forward passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from torch import Tensor, nn

from mixmask_solo.config import listing
from mixmask_solo.mixtures import Mixture
from mixmask_solo.objectives import Share
from mixmask_solo.strategies.step import Step

Filter = Callable[[Tensor], Tensor]
Pairing = Literal["query", "pair"]
Targets = Literal["both", "other"]
BranchTargets = Literal[Targets, "every"]


class Views(NamedTuple):
    """The views of a step, each ``(N, C, H, W)``, large crops first: tuples, for a hook."""

    online: Sequence[Tensor]  # what the online network sees
    # What the momentum network sees of the large crops; small ones, and methods without such a
    # network, have no use for it.
    momentum: Sequence[Tensor]
    loaded: Sequence[Tensor]  # before any input filter and any strategy; stays as it is


@dataclass(frozen=True)
class Branch:
    """One extra batch for the online network, and what it is compared with.

    Args:
        name: the strategy's name; losses are logged as ``train_<name>_loss``.
        images: ``(N, C, H, W)``; None for the view itself, which is not forwarded again: the
            branch is then what ``negatives`` add to the method's own loss.
        momentum: ``(N, C, H, W)``, what the momentum network sees of them where ``pair`` asks it;
            None for the same.
        sources: images of the batch that a branch's image shows, by share; none given, image i
            itself with weight 1, as for a masked view. A share of the whole batch is one value
            expanded to ``(N,)``, which tells it from shares that may differ (``per_image``).
        view: index of the view it was made from, a large crop; of a crop of the strategy's own
            (:meth:`Strategy.extra_crops`), the view it stands beside.
        negatives: ``(N, C, H, W)``, a hard negative for each image's query (InfoNCE only).
        alpha: factor of the hard negatives' similarities.
        weight: factor of this branch's loss.
        against: an earlier branch of the step, compared with in the un-mixed views' place. Images
            that two branches share, the very same tensor, pass the networks once.
        pairing: ``query`` (the images only predict), ``pair`` (the family's complete two-view
            loss), or None for the family's default.
        targets: ``both`` un-mixed views, only the ``other``, or None for the default. ``every``:
            both, and with ``pair`` also each branch of the strategy that says so; the loss is a
            sum over pairs, each of which counts as much as the host's own two views.
        mixture: how the images were mixed, if they were: for the log and for pictures.
    """

    name: str
    images: Tensor | None
    sources: Sequence[Share] = ()
    view: int = 0
    momentum: Tensor | None = None
    negatives: Tensor | None = None
    alpha: float = 1.0
    weight: float = 1.0
    pairing: Pairing | None = None
    targets: BranchTargets | None = None
    mixture: Mixture | None = None
    against: "Branch | None" = None

    def __post_init__(self) -> None:
        shown = self.negatives if self.images is None else self.images
        if shown is None:
            raise ValueError(f"branch {self.name} has neither images nor negatives")
        for key, known in (("pairing", Pairing), ("targets", BranchTargets)):
            if (value := getattr(self, key)) not in (None, *get_args(known)):
                choices = listing(get_args(known))
                raise ValueError(f"branch {self.name} has {key} {value!r}: choose {choices}")
        if not self.sources:
            whole = Share(None, shown.new_ones(1).expand(len(shown)))
            object.__setattr__(self, "sources", (whole,))

    @classmethod
    def of(cls, name: str, mixture: Mixture, *, switch: bool = True, **options: Any) -> "Branch":
        """A branch of mixed images, with two sources; ``options`` are further fields.

        ``switch: False`` drops the second source (paper, Table 1, "switch mixture").
        """
        images, lam, partner = mixture
        rest = 1.0 - lam if _differ(lam) else (1.0 - lam[:1]).expand_as(lam)
        sources = [Share(None, lam), Share(partner, rest)]
        return cls(name, images, sources[: 1 + switch], mixture=mixture, **options)

    @property
    def momentum_images(self) -> Tensor | None:
        """What the momentum network sees."""
        return self.images if self.momentum is None else self.momentum

    @property
    def per_image(self) -> bool:
        """Whether its images have shares of their own."""
        return any(_differ(weight) for _, weight in self.sources)


def _differ(weight: Tensor) -> bool:
    """Whether there is more than one value; to read them would wait for the device."""
    return weight.numel() > 1 and weight.stride() != (0,)


class Strategy(nn.Module):
    """Base of all strategies; without parameters of its own it leaves no trace in checkpoints.

    Names of parameters and buffers must not hold ``backbone`` or ``encoder``: solo-learn's probe
    takes every such key for the network's.

    Args:
        options: instance of ``options_type``, checked.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[Any]]
    hard_negatives: ClassVar[bool] = False
    """Whether its branches have ``negatives``; methods without InfoNCE then refuse its block.

    Not where the block has an option ``negatives`` that says false.
    """
    host_weight: float = 1.0
    """Factor of the method's own loss, of the un-mixed views; at 0 it is measured and no more."""
    alternates: bool = True
    """Whether its own optimiser, if any, steps by :meth:`own_loss`; else by the gradients that
    :meth:`branches` and :meth:`penalty` have left with the method's own."""

    def __init__(self, options: Any) -> None:
        super().__init__()
        self.options = options

    @classmethod
    def check(cls, options: Any, cfg: Any) -> None:
        """Checks the options against the rest of the run's configuration.

        It may settle there what they leave open: as it leaves them they are stored.

        Raises:
            ConfigError: when they cannot work together.
        """

    @classmethod
    def input_filter(cls, options: Any) -> Filter | None:
        """What every input passes first: in training, in validation, and in each later evaluation.

        A deterministic function of images ``(N, C, H, W)`` and of the options alone, since an
        evaluation knows nothing but the stored block. A module's buffers are not persistent.
        """
        return None

    @classmethod
    def extra_crops(cls, options: Any) -> int:
        """How many further crops of each image it takes for itself, of the large crops' size.

        They are augmented as the large crops are, in turn, and no network sees them but in the
        strategy's branches.
        """
        return 0

    def views(self, views: Views, step: Step) -> Views:
        """Changes what the networks see, before any forward pass.

        ``momentum`` may stay clean while ``online`` is masked: ``views._replace(online=...)``.
        Strategies are asked one after the other.
        """
        return views

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        """Batches to forward besides the views.

        Args:
            views: clean ones, each ``(N, C, H, W)``: filtered, but before any strategy's
                :meth:`views`. Every published strategy makes its branches of clean images (MSCN's
                extra views, ADIOS' slots, saliency's hard negatives, mixtures), and so they do not
                depend on what else is switched on. Behind them come its own crops, if it takes any.
            step: for the draws.
        """
        return []

    def maps(self, views: Views, step: Step) -> list[tuple[str, int, Tensor]]:
        """What it sees or decides where, for pictures alone: nothing here is trained with.

        Returns:
            A label, the index of a view, and a map ``(N, h, w)`` within [0, 1] for each of its
            images; any number of them.
        """
        return []

    def param_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser, each ``{"name", "params", "lr", ...}``; others stay as is.

        ``params`` are a tensor or an iterable of at least one.
        """
        return []

    def penalty(self) -> Tensor | None:
        """Scalar whose gradient is added to that of the step's loss, and not its value.

        Asked after :meth:`branches`, for what the strategy's own parameters learn from besides.
        """
        return None

    def metrics(self) -> dict[str, Tensor]:
        """Scalars of the step, without gradient, to be logged as ``train_<name>_<key>``."""
        return {}

    def optimizer(self) -> dict[str, Any] | None:
        """Settings of an optimiser of its own; the method's touches none of its ``params``.

        ``{"params", "lr", "weight_decay", "momentum", "eta"}`` of SGD in LARS. Its rate follows the
        run's schedule, its state is part of the checkpoint, and it steps right after the method's.
        """
        return None

    def own_loss(
        self, views: Sequence[Tensor], step: Step, losses: Callable[[list[Branch]], list[Tensor]]
    ) -> Tensor:
        """Scalar that the own optimiser minimises, once the method's optimiser has stepped.

        Args:
            views: as for :meth:`branches`.
            step: the same step; another stream draws anew.
            losses: of branches, unweighted, by the method's networks as they are now; those get no
                gradient. Directions in which images are only targets are left out: these have none.
        """
        raise NotImplementedError
