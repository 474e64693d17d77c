# SPDX-License-Identifier: MIT
"""The one mixin that brings strategies into a host's method.

It stands *between* the concrete method and the host's base class, so that it sees ``out`` (per
view: ``feats``, ``z``, ``p``, ``momentum_z``, ...) before the method adds its own loss and before
MoCo's queue moves::

    class MixMaskBYOL(BYOL, <mixin over BaseMomentumMethod>)
    # BYOL -> mixin -> BaseMomentumMethod -> BaseMethod

In any other place it would fail in silence (no momentum projections, or never called), hence the
check when a class is built. Without a strategy's block it hands everything through untouched: same
loss, same gradients, same random stream.
"""

from collections.abc import Sequence
from functools import cache
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.methods.families import Family, Forwarded
from mixmask_solo.methods.own_steps import OwnSteps
from mixmask_solo.methods.refused import check_branch
from mixmask_solo.networks import PassStatistics
from mixmask_solo.strategies import Branch, Step, Views, input_filter, make_strategies


class BranchesMixin(OwnSteps):
    """Applies the strategies of ``cfg.method_kwargs`` around the host's forward passes."""

    family: type[Family]

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        made = make_strategies(self.cfg.get("method_kwargs"), int(self.cfg.get("seed", 5)))
        self.strategies = nn.ModuleDict({strategy.name: strategy for strategy in made})
        self._filter = input_filter((type(s), s.options) for s in made)
        self._online: dict[int, Tensor] = {}
        self._rest: Any = None
        self.embedded: tuple[Tensor, Tensor] | None = None
        self._prepare_own()

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """Adds the strategies' own groups; ValueError for one without parameters."""
        own = [_listed(s.name, group) for s in self._strategies() for group in s.param_groups()]
        return [*super().learnable_params, *own]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """The host's ``out``, the branches' losses added to ``out["loss"]``."""
        if not self.strategies:
            out: Any = super().training_step(batch, batch_idx)
            self._show(out)
            return out
        indexes, loaded, targets = batch
        loaded = (loaded,) if isinstance(loaded, Tensor) else tuple(loaded)
        everything = tuple(self._filter(x) for x in loaded) if self._filter else loaded
        clean, crops = self._split(everything)
        step = self._step(batch_idx, clean[0].device)
        views = Views(clean, clean, loaded[: len(clean)])
        for strategy in self._strategies():
            views = self._views(strategy, views, step)
        branches = [
            b
            for s in self._strategies()
            for b in s.branches((*clean, *crops.get(s.name, ())), step)
        ]
        for branch in branches:
            check_branch(self, branch)
        queue = self._queue_to_keep()
        out = self._host_step(indexes, views, targets, batch_idx)
        self._show(out)
        if branches:
            out["loss"] = out["loss"] + self._branch_loss(out, branches)
        self._remember(clean, views, step, out, queue)
        self._rest = out["loss"]
        return out

    def _show(self, out: dict[str, Any]) -> None:
        """Leaves in ``embedded``, for whoever watches, the step's z of the first large view and of
        its positive: the second view, or its key where that one passes the momentum network alone.
        """
        own, keys = out.get("z", []), out.get("momentum_z", [])
        pair = [*own[:2], *keys[-1:]][:2]
        self.embedded = (pair[0].detach(), pair[1].detach()) if len(pair) == 2 else None

    def _split(self, loaded: Sequence[Tensor]) -> tuple[Sequence[Tensor], dict[str, list[Tensor]]]:
        """The host's views, and by strategy the crops behind them that it takes for itself."""
        crops = {s.name: s.extra_crops(s.options) for s in self._strategies()}
        taken = sum(crops.values())
        n = len(loaded) - taken
        if taken and n != self.num_crops:
            blocks = listing([f"method_kwargs.{s}" for s, k in crops.items() if k], "and")
            raise ConfigError(
                f"augmentations[0].num_crops gives {len(loaded)} crops of an image with all other "
                f"entries: {self.cfg.method} takes {self.num_crops}, {blocks} {taken} more"
            )
        rest = iter(loaded[n:])
        return loaded[:n], {name: list(islice(rest, k)) for name, k in crops.items()}

    def _views(self, strategy: Any, views: Views, step: Step) -> Views:
        """What a strategy makes of the views; ValueError for another number of them."""
        online, momentum, _ = strategy.views(views, step)
        made = Views(tuple(online), tuple(momentum), views.loaded)
        n, large = len(views.loaded), self.num_large_crops
        for field, numbers in (("online", {n}), ("momentum", {min(large, n), n})):
            if (given := len(getattr(made, field))) not in numbers:
                raise ValueError(
                    f"strategy {strategy.name}: its hook views gives {given} {field} images, "
                    f"expected are {listing(sorted(numbers))}"
                )
        return made

    def _host_step(self, indexes: Tensor, views: Views, targets: Tensor, batch_idx: int) -> Any:
        """The host's step over the momentum network's views, replaced where it goes online.

        Its bases give one list to both networks; on each of them, and on ours, large crops pass
        the online one by ``base_training_step`` and nowhere else. Small crops know it alone.
        """
        large = self.num_large_crops
        # Aliases, so that each view is an object of its own though a strategy gives one twice.
        seen = [m.view_as(m) for m in views.momentum[:large]]
        self._online = {id(m): o for m, o in zip(seen, views.online, strict=False)}
        seen += views.online[large:]
        try:
            return super().training_step([indexes, seen, targets], batch_idx)
        finally:
            self._online = {}

    def base_training_step(self, X: Tensor, targets: Tensor) -> Any:
        """The host's, of what the online network sees of the view."""
        return super().base_training_step(self._online.get(id(X), X), targets)

    def validation_step(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """The host's, of filtered images."""
        if self._filter:
            batch = [self._filter(batch[0]), *batch[1:]]
        return super().validation_step(batch, *args, **kwargs)

    def _branch_loss(self, out: dict[str, Any], branches: list[Branch]) -> Tensor:
        losses = self.family.losses(self, out, self._forwarded(branches, out))
        metrics: dict[str, Any] = {}
        for branch, loss in zip(branches, losses, strict=True):
            name = f"train_{branch.name}_loss"  # of all branches of a strategy
            metrics[name] = metrics.get(name, 0.0) + loss.detach()
            if branch.mixture is not None:
                metrics[f"train_{branch.name}_lam"] = branch.mixture.lam.mean()
        weighted = [b.weight * loss for b, loss in zip(branches, losses, strict=True)]
        total = torch.stack(weighted).sum()
        metrics["train_mixture_loss"] = total.detach()
        for strategy in self._strategies():
            metrics |= {f"train_{strategy.name}_{k}": v for k, v in strategy.metrics().items()}
            if (penalty := strategy.penalty()) is not None:
                own = [
                    w for b, w in zip(branches, weighted, strict=True) if b.name == strategy.name
                ]
                mask_loss = penalty.detach() - torch.stack(own).sum().detach()
                metrics[f"train_{strategy.name}_mask_loss"] = mask_loss
                total = total + (penalty - penalty.detach())
        self.log_dict(metrics, on_epoch=True, sync_dist=True)
        return total

    def _forwarded(
        self, branches: list[Branch], out: dict[str, Any], *, frozen: bool = False
    ) -> list[Forwarded]:
        """Branches with their outputs; images that several share pass the networks once."""
        passed: dict[int, tuple[Any, Any]] = {}
        made: dict[int, Forwarded] = {}
        for branch in branches:
            if id(branch.images) not in passed or branch.images is None:
                passed[id(branch.images)] = self._forward(branch, out)
            own, momentum = passed[id(branch.images)]
            negative, against = self._negative(branch), made.get(id(branch.against))
            made[id(branch)] = Forwarded(branch, own, momentum, negative, against, frozen)
        return list(made.values())

    def _forward(self, branch: Branch, out: dict[str, Any]) -> tuple[Any, Any]:
        if branch.images is None:
            lists = {key: rows for key, rows in out.items() if isinstance(rows, list)}
            own = {key: rows[branch.view] for key, rows in lists.items() if branch.view < len(rows)}
        else:
            own = self(branch.images)
        # Computed at most once, and only if asked for.
        momentum: Any = cache(lambda: self.momentum_forward(branch.momentum_images)["z"])
        return own, momentum

    @torch.no_grad()
    def _negative(self, branch: Branch) -> Tensor | None:
        """Its negatives' projections; running statistics stay: evaluation sees no such images."""
        if branch.negatives is None:
            return None
        prefix, network = ("", self)
        if hasattr(self, "momentum_backbone"):
            prefix, network = "momentum_", self.momentum_forward
        parts = [getattr(self, prefix + name) for name in ("backbone", "projector")]
        with PassStatistics(*parts) as passes:
            z: Tensor = network(branch.negatives)["z"]
        passes.fold([])
        return z

    def _strategies(self) -> Sequence[Any]:
        return list(self.strategies.values())

    def _step(self, batch_idx: int, device: torch.device) -> Step:
        seed = int(self.cfg.get("seed", 5))
        return Step(seed, self.current_epoch, batch_idx, self.global_rank, device)


def _listed(name: str, group: dict[str, Any]) -> dict[str, Any]:
    """A strategy's group with its parameters in a list: a generator can be read only once."""
    params = group["params"]
    params = [params] if isinstance(params, Tensor) else list(params)
    if not params:
        raise ValueError(f"strategy {name}: its hook param_groups gives a group without parameters")
    return {**group, "params": params}
