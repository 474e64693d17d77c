# SPDX-License-Identifier: MIT
"""Strategies that learn by an optimiser of their own, one step behind each step of the host's.

Lightning's automatic optimisation knows one optimiser, on either host, so the second one lives
here. Its step comes right behind the host's, before momentum networks move and before callbacks
look at the batch. With accumulated gradients it comes when the host's does, over all batches since,
each with the networks that the host has just updated. Gradients reach the strategy's parameters
and nothing else: those of the networks are neither computed nor touched, and no clipping that the
trainer is asked for applies. Under DDP its parameters are kept out of the reducer (any host's, by
the attribute that DDP asks for) and their gradients averaged here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.host import optimization
from mixmask_solo.objectives.distributed import world_size
from mixmask_solo.strategies import Branch, Step, Views

_Host: Any = object  # stands for either host's
_KEY = "mixmask_solo_strategies"  # in a checkpoint
IGNORED = "_ddp_params_and_buffers_to_ignore"  # asked for by DDP


@dataclass
class _Batch:
    """What an own step needs of a batch."""

    clean: Sequence[Tensor]
    views: Views
    step: Step
    out: dict[str, Any]  # the host's lists by view, without gradient
    queue: Tensor | None  # as it was before the batch


class OwnOptimizer:
    """SGD in LARS over a strategy's parameters, whose rate follows the run's schedule."""

    def __init__(self, module: Any, name: str, settings: dict[str, Any]) -> None:
        self.module = module
        self.params = list(settings["params"])
        self.lr = settings["lr"] * module.accumulate_grad_batches  # as the host's rates
        self.optimizer = optimization().own_lars(name, {**settings, "params": self.params})
        self.schedule: Any = None

    def step(self) -> None:
        """One step by the gradients that are there, which are gone afterwards."""
        if world_size() > 1:
            self._average()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _rate(self) -> float:
        module = self.module
        if module.scheduler == "none":
            return float(self.lr)
        if self.schedule is None:
            self.schedule = optimization().schedule_of(module)
        schedule, interval = self.schedule
        at = module.trainer.global_step if interval == "step" else module.current_epoch
        return float(schedule.lr(self.lr, at))

    def _average(self) -> None:
        grads = [p.grad for p in self.params if p.grad is not None]
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        parts = (flat / world_size()).split([g.numel() for g in grads])
        torch._foreach_copy_(grads, [p.view_as(g) for p, g in zip(parts, grads, strict=True)])


class OwnSteps(_Host):
    """Behind the mixin of branches, which says what their losses are."""

    queue: Tensor

    def _prepare_own(self) -> None:
        """Call once the strategies are there."""
        self._own: dict[str, OwnOptimizer] | None = None
        self._own_saved: dict[str, Any] = {}
        self._batches: list[_Batch] = []
        learning = self._learning()
        names = [f"strategies.{s.name}.{p}" for s in learning for p, _ in s.named_parameters()]
        if names:
            setattr(self, IGNORED, names)

    @property
    def judged(self) -> list[str]:
        """Logged losses that have to be finite, beside the step's own."""
        return [f"train_{s.name}_mask_loss" for s in self._learning()]

    def _learning(self) -> list[Any]:
        return [s for s in self._strategies() if s.optimizer() is not None]

    def _queue_to_keep(self) -> Tensor | None:
        """A copy of the queue, ahead of the host's step, if an own step will want it."""
        queue: Tensor | None = getattr(self, "queue", None)
        wanted = any(strategy.alternates for strategy in self._learning())
        return queue.clone() if queue is not None and wanted else None

    def _remember(self, clean: Any, views: Views, step: Step, out: Any, queue: Any) -> None:
        """Keeps what the own steps of this batch need, where there are any."""
        if self._learning():
            kept = {"z", "p", "raw_z", self.family.predicted} & out.keys()
            detached = {key: [x.detach() for x in out[key]] for key in kept}
            self._batches.append(_Batch(clean, views, step, detached, queue))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The host's, which may run the training step itself; then those of strategies."""
        super().optimizer_step(*args, **kwargs)
        self.own_steps(self.trainer.precision_plugin.train_step_context)

    def own_steps(self, autocast: Callable[[], Any] = nullcontext) -> None:
        """Steps of the strategies' optimisers for the batches since their last one.

        Args:
            autocast: gives the context that forward passes run in.
        """
        batches, self._batches = self._batches, []
        if not batches:
            return
        share = 1.0 / self.accumulate_grad_batches
        for strategy in self._learning():
            own = self._own_of(strategy)
            for batch in batches if strategy.alternates else ():
                with autocast():
                    loss = strategy.own_loss(batch.clean, batch.step, self._losses_now(batch))
                (share * loss).backward(inputs=own.params)
                name = f"train_{strategy.name}_mask_loss"
                self.log(name, loss.detach(), on_epoch=True, sync_dist=True)
            own.step()

    def _losses_now(self, batch: _Batch) -> Callable[[list[Branch]], list[Tensor]]:
        def losses(branches: list[Branch]) -> list[Tensor]:
            out = self._views_now(batch, branches)
            forwarded = self._forwarded(branches, out, frozen=True)
            with self._with_queue(batch.queue):
                found: list[Tensor] = self.family.losses(self, out, forwarded)
            return found

        return losses

    @torch.no_grad()
    def _views_now(self, batch: _Batch, branches: list[Branch]) -> dict[str, Any]:
        """The batch's ``out``; outputs of the online network that are predicted are made anew.

        The momentum network has not moved since, so its outputs are those of the batch.
        """
        out = {key: list(rows) for key, rows in batch.out.items()}
        if self.family.predicted == "z":
            others = {v for b in branches for v in range(len(out["z"])) if v != b.view}
            for v in sorted(others):
                own = self(batch.views.online[v])
                for key, raw in (("z", "z"), ("p", "p"), ("raw_z", "z")):
                    if key in out:
                        out[key][v] = own[raw]
        return out

    @contextmanager
    def _with_queue(self, queue: Tensor | None) -> Iterator[None]:
        """The queue as it was: by now it holds the batch's keys, a query's own one among them."""
        if queue is None:
            yield
            return
        now, self.queue = self.queue, queue
        try:
            yield
        finally:
            self.queue = now

    def _own_of(self, strategy: Any) -> OwnOptimizer:
        """Made when it is first needed: by then the parameters lie where they will be trained."""
        if self._own is None:
            self._own = {
                s.name: OwnOptimizer(self, s.name, s.optimizer()) for s in self._learning()
            }
            for name, state in self._own_saved.items():
                if name in self._own:
                    self._own[name].optimizer.load_state_dict(state)
        return self._own[strategy.name]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the own optimisers' states."""
        super().on_save_checkpoint(checkpoint)
        if self._learning():
            states = {s.name: self._own_of(s).optimizer.state_dict() for s in self._learning()}
            checkpoint[_KEY] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes them back when they are next needed; ConfigError where one is missing."""
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint.get(_KEY, {})
        if missing := [s.name for s in self._learning() if s.name not in saved]:
            raise ConfigError(
                f"the checkpoint holds no state of the optimiser of {listing(missing, 'and')} "
                f"({_KEY}): a resumed run would begin it anew; take another checkpoint of the run, "
                "or train from these weights by init_from"
            )
        self._own, self._own_saved, self._batches = None, saved, []


class HostLoss(_Host):
    """Before the concrete method: weighs its own loss beside what the strategies have made of it.

    Where all weights are 1, what it gives is handed through.
    """

    _rest: Any  # the step's loss without the method's own

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """The method's loss."""
        loss = super().training_step(batch, batch_idx)
        rest, self._rest = self._rest, None  # classifier and branches
        weight = prod(strategy.host_weight for strategy in self._strategies())
        if weight == 1.0:
            return loss
        return rest + weight * (loss - rest) if weight else rest
