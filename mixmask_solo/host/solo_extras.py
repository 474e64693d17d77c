# SPDX-License-Identifier: MIT
"""Configuration keys of ours that solo-learn's classes do not know, taught to them.

Put before each of its methods (see ``Host.extras``). Where none of these keys is set to something
that solo-learn would do differently, every call goes through untouched: same parameters, same
random stream, same optimiser.
"""

import math
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mixmask_solo.host.builtin.backbones import set_stem, wrong_kwargs
from mixmask_solo.host.builtin.defaults import METHOD
from mixmask_solo.host.builtin.labelled import LabelledMeans, class_metrics
from mixmask_solo.host.builtin.momentum import momentum_copy
from mixmask_solo.host.builtin.online_knn import WeightedKNN
from mixmask_solo.host.builtin.optimization import configure_optimizers
from mixmask_solo.host.knn import UNLABELLED

_DEFAULTS = METHOD["backbone"]
_OUR_SCHEDULES = ("cosine", "cosine_from_one", "warmup_step")
_THEIR_SCHEDULES = ("warmup_cosine", "step", "none")


class OurKeys(LabelledMeans):
    """``backbone.stem``, ``.stem_padding``, ``scheduler.gamma``, the schedules of ours,
    ``scheduler.lr_decay_steps`` counted from the end, and the keys of ``knn_eval``.

    Images without label count as in the built-in host, and so do the validation images of several
    processes. All else is what solo-learn logs.

    Raises:
        ValueError: for a backbone, its arguments, a stem or schedule that does not exist here.
    """

    _BACKBONES: dict[str, Any]  # solo-learn's
    labels_of_others = "all"

    def __init__(self, cfg: DictConfig) -> None:
        name = OmegaConf.select(cfg, "backbone.name")
        if name not in self._BACKBONES:
            raise ValueError(
                f"backbone.name is {name!r}: solo-learn has {', '.join(self._BACKBONES)}; choose "
                "one of them, or run it with mixmask-pretrain host=builtin, which also takes any "
                "ConvNet of timm"
            )
        module: Any = self
        _complete_in_place(cfg, module.add_and_assert_specific_cfg(cfg))
        asked = cfg.knn_eval.enabled
        cfg.knn_eval.enabled = False  # theirs wants an older torchmetrics
        try:
            super().__init__(cfg)
        except TypeError as error:  # any other is not about a name of an argument
            named = any(f"'{key}'" in str(error) for key in cfg.backbone.get("kwargs") or ())
            raise (wrong_kwargs(cfg, error) if named else None) or error from None
        finally:
            cfg.knn_eval.enabled = asked
        self._replace_stems(cfg)
        self.knn_eval = asked
        if asked:
            self.knn = WeightedKNN.of(cfg.knn_eval)
        self.lr_gamma: float = OmegaConf.select(cfg, "scheduler.gamma", default=0.1)
        steps = module.lr_decay_steps
        if steps and min(steps) < 0:
            counted = [s + module.max_epochs if s < 0 else s for s in steps]
            module.lr_decay_steps = [s for s in counted if s > 0]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """solo-learn's."""
        self._targets: Tensor = batch[2]  # for what it logs of them
        return super().training_step(batch, batch_idx)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """solo-learn's; only labelled images count."""
        out: Any = super().validation_step(*args, **kwargs)
        if not self._as_theirs:
            targets: Tensor = (args[0] if args else kwargs["batch"])[1]
            out["batch_size"] = (targets != UNLABELLED).sum()  # solo-learn keeps this very dict
        return out

    def on_validation_epoch_end(self) -> None:
        """solo-learn's, or the built-in host's."""
        if self._as_theirs:
            super(LabelledMeans, self).on_validation_epoch_end()
        else:
            super().on_validation_epoch_end()

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        """Without what was not measured: of no labelled image, or by a k-NN without any."""
        found = {
            name: value
            for name, value in dictionary.items()
            if not (name.startswith("val_knn") and math.isnan(value))
        }
        of_classifier = {"train_acc1", "train_momentum_acc1"} & found.keys()
        if of_classifier and self.train_labels != "all" and "batch_size" not in kwargs:
            self.log_labelled(found, self._targets)
        else:
            super().log_dict(found, *args, **kwargs)

    def _base_shared_step(self, X: Tensor, targets: Tensor) -> Any:
        module: Any = super()
        return self._recounted(module._base_shared_step(X, targets), targets)

    def _shared_step_momentum(self, X: Tensor, targets: Tensor) -> Any:
        module: Any = super()
        return self._recounted(module._shared_step_momentum(X, targets), targets)

    def _recounted(self, out: Any, targets: Tensor) -> Any:
        """solo-learn counts unlabelled images as misses; its loss of a batch of them is NaN."""
        theirs = self._as_theirs or (self.training and self.train_labels == "all")
        if not theirs and "logits" in out:
            out |= class_metrics(out["logits"], targets)
        return out

    @property
    def _as_theirs(self) -> bool:
        alone = self._trainer is None or self.trainer.world_size == 1
        return alone and self.train_labels == "all"

    def configure_optimizers(self) -> Any:
        """solo-learn's optimiser and schedule, or the built-in host's for a schedule of ours."""
        module: Any = self
        name = str(module.scheduler).lower()
        if name not in _OUR_SCHEDULES + _THEIR_SCHEDULES:
            raise ValueError(
                f"scheduler.name is {module.scheduler!r}: choose one of "
                f"{', '.join(_THEIR_SCHEDULES + _OUR_SCHEDULES)}"
            )
        if name not in _OUR_SCHEDULES and (name != "step" or self.lr_gamma == 0.1):
            return super().configure_optimizers()
        if name.endswith("step") and not module.cfg.scheduler.lr_decay_steps:
            raise ValueError(
                f"scheduler.lr_decay_steps is missing: {name} needs the epochs at which to lower "
                "the rate, e.g. [60, 80]"
            )
        if OmegaConf.is_config(module.extra_optimizer_args):
            module.extra_optimizer_args = OmegaConf.to_container(module.extra_optimizer_args)
        module.lr_decay_steps = list(module.lr_decay_steps or ())
        # solo-learn's groups hold generators, which can be read only once
        groups = [{**g, "params": list(g["params"])} for g in module.learnable_params]
        return configure_optimizers(self, groups)

    def _replace_stems(self, cfg: DictConfig) -> None:
        """As the built-in host has it; the momentum network starts as a copy again."""
        given = {key: value for key, value in cfg.backbone.items() if value is not None}
        wanted = {"backbone": _DEFAULTS | given, "data": {"dataset": cfg.data.dataset}}
        module: Any = self
        changed = set_stem(module.backbone, OmegaConf.create(wanted))
        if changed and hasattr(module, "momentum_backbone"):
            for part in ("conv1", "maxpool"):
                copy = momentum_copy(getattr(module.backbone, part))
                setattr(module.momentum_backbone, part, copy)


def _complete_in_place(cfg: DictConfig, completed: DictConfig) -> None:
    """solo-learn's classes and scripts go on reading the configuration that they passed in.

    Its own checks therefore write into it; ours return a completed copy.
    """
    if completed is not cfg:
        for key in completed:
            OmegaConf.update(cfg, str(key), completed._get_node(key), merge=False, force_add=True)
