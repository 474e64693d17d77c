# SPDX-License-Identifier: MIT
"""How close a training step comes to its floor: the network passes it cannot avoid.

    python benchmarks/step.py --out benchmarks/results/step-cpu.json

The methods' heads and queue are those of CIFAR's recipes, MoCo v2's the paper's for ImageNet, for
which ``--backbone resnet50 --size 224`` is the recipe's own network (ImageNet's stem from 64 px).

Floor = online forward (backbone, projector, predictor) of each view, mixed batch and extra view,
one backward through all of them from constant gradients, and the momentum networks' forward of
each view, and of each further batch that is a target of the method's loss; with saliency also the
localiser's forward of the views, and that of hard negatives; the same modules, stem and memory
format as the step. With ADIOS: each un-masked view forward and, where a gradient comes back to it,
backward, each masked one both ways, the targets, and for the occluder's own step what it predicts
forward and the masked ones again, backward to their pixels alone; the occluder's passes beside
them. Step = zero_grad, training_step, backward, optimiser step, the strategies' own steps, EMA and
τ. Both are timed alternately in one process; what counts is the median over repetitions of floor /
step within the same repetition. Exit status 1 when a target on the CPU is missed. ``--compile``
adds the step with ``performance.compile``.
"""

from __future__ import annotations

import argparse
import atexit
import copy
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from conditions import conditions, save, tell_load
from omegaconf import OmegaConf
from torch import Tensor

from mixmask_solo.host.builtin.backbones import build_backbone
from mixmask_solo.methods import get_methods
from mixmask_solo.runs.performance import apply_performance

Context = Callable[[], Any]
MASKS = {"grid_size": 2, "mask_type": "discrete"}
MIXMASK = {"mixmask": MASKS}
UNMIX = {"unmix": {"prob": 0.5}}
STRATEGIES: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "mixmask": MIXMASK,
    "mixmask_unmix": {**MIXMASK, **UNMIX},
    "erase": {"erase": MASKS},
    "noise": {"erase": {**MASKS, "fill": "noise"}},
    "erase_branch": {"erase": {**MASKS, "role": "branch"}},
    "mscn": {"mscn": {"patch_size": 8}},
    "saliency": {"saliency": {"fill": "high_pass"}},
    "saliency_blur": {"saliency": {"fill": "blur"}},
    "saliency_mean": {"saliency": {"fill": "mean"}},
    "adios": {"adios": {"slots": 4}},
    "adios_simultaneous": {"adios": {"slots": 4, "schedule": "simultaneous"}},
}
# batches that the online network sees more
EXTRA = {"mixmask": 1, "mixmask_unmix": 2, "erase_branch": 1, "mscn": 2}
TARGETS = {"mocov2plus": 0.96, "mocov2": 0.95, "mocov2_cifar": 0.95}  # the others: 0.97
LARS = {"name": "lars", "kwargs": {"momentum": 0.9, "eta": 0.02, "clip_lr": True}}
SGD = {"name": "sgd", "kwargs": {"momentum": 0.9}}
# Heads and optimisers of solo-learn's CIFAR recipes; mocov2 with the paper's head and queue for
# ImageNet (one direction), and as the CIFAR recipes have it (both directions, split BatchNorm).
METHODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mocov2plus": (
        {"proj_hidden_dim": 2048, "proj_output_dim": 256, "temperature": 0.2, "queue_size": 65536},
        SGD,
    ),
    "byol": ({"proj_hidden_dim": 4096, "proj_output_dim": 256, "pred_hidden_dim": 4096}, LARS),
    "simclr": ({"proj_hidden_dim": 2048, "proj_output_dim": 256, "temperature": 0.2}, LARS),
    "simsiam": ({"proj_hidden_dim": 2048, "proj_output_dim": 2048, "pred_hidden_dim": 512}, SGD),
    "mocov2": (
        {
            "projector": "mlp",
            "proj_hidden_dim": 2048,
            "proj_output_dim": 128,
            "temperature": 0.2,
            "queue_size": 65536,
        },
        SGD,
    ),
    "mocov2_cifar": (
        {
            "projector": "linear",
            "proj_output_dim": 128,
            "temperature": 0.1,
            "queue_size": 4096,
            "symmetric": True,
            "bn_splits": 8,
        },
        SGD,
    ),
}


def dataset_of(size: int) -> str:
    """The data set that decides the stem of networks for images of that size."""
    return "cifar10" if size < 64 else "imagenet"


def blocks_of(strategy: str, backbone: str, size: int) -> dict[str, Any]:
    """The strategy's blocks, for images of that size."""
    blocks = copy.deepcopy(STRATEGIES[strategy])
    if "saliency" in blocks:
        blocks["saliency"]["localizer"] = localizer(backbone, dataset_of(size))
    return blocks


@cache
def localizer(backbone: str, dataset: str) -> dict[str, Any]:
    """The localiser's block: an untrained network of the backbone's kind, as fast as any."""
    block: dict[str, Any] = {"name": backbone, "kwargs": {}, "stem": "imagenet"}
    if dataset == "cifar10":
        block |= {"stem": "cifar", "stem_padding": 2}
    network = build_backbone(OmegaConf.create({"backbone": block, "data": {"dataset": dataset}}))
    file = Path(tempfile.mkdtemp(), "localizer.pth")
    atexit.register(shutil.rmtree, file.parent)
    torch.save(network.state_dict(), file)
    return {"weights": str(file), "backbone": block}


def build(name: str, strategy: str, args: argparse.Namespace, *, compiled: bool = False) -> Any:
    """The method's module on the built-in host, in the step's memory format."""
    kwargs, optimizer = METHODS[name]
    method = name.partition("_")[0]
    cfg = OmegaConf.create(
        {
            "name": "bench",
            "method": method,
            "seed": 0,
            "backbone": {"name": args.backbone, "kwargs": {}},
            "method_kwargs": {**kwargs, **blocks_of(strategy, args.backbone, args.size)},
            "momentum": {"base_tau": 0.99, "final_tau": 1.0},
            "data": {
                "dataset": dataset_of(args.size),
                "num_classes": 10,
                "num_large_crops": 2,
                "num_small_crops": 0,
            },
            "augmentations": [{"crop_size": args.size, "num_crops": 2}],
            "optimizer": {
                **optimizer,
                "batch_size": args.batch,
                "lr": 1e-3,
                "classifier_lr": 1e-3,
                "weight_decay": 1e-4,
            },
            "scheduler": {"name": "none"},
            "performance": {"disable_channel_last": False, "compile": compiled, "tf32": False},
            "max_epochs": 1,
        }
    )
    torch.manual_seed(0)
    model = get_methods("builtin")[method](cfg)
    model.log = model.log_dict = lambda *_, **__: None  # logging belongs to the trainer
    apply_performance(model.to(args.device), cfg.performance, torch.device(args.device))
    return model


def make_step(model: Any, batch: Any, autocast: Context = nullcontext) -> Callable[[int], None]:
    """One whole training step without the trainer's loop."""
    optimizer = model.configure_optimizers()
    momentum = hasattr(model, "momentum_updater")

    def step(i: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = model.training_step(batch, i)
        loss.backward()
        optimizer.step()
        model.own_steps(autocast)
        if momentum:
            for pair in model.momentum_pairs:
                model.momentum_updater.update(*pair)
            model.momentum_updater.update_tau(cur_step=i, max_steps=1_000_000)

    return step


def make_floor(
    model: Any, views: list[Tensor], extra: int, autocast: Context = nullcontext
) -> Callable[[int], None]:
    """The passes alone, through the same modules."""
    heads = [model.projector] + ([model.predictor] if hasattr(model, "predictor") else [])
    online = torch.nn.Sequential(model.backbone, *heads)
    one_way = model.cfg.method == "mocov2" and not model.cfg.method_kwargs.symmetric
    inputs = (views[:1] if one_way else views) + views[:1] * extra
    momentum = hasattr(model, "momentum_backbone")
    keys = (views[1:] if one_way else views) if momentum else []
    pairs = model.cfg.method_kwargs.get("mscn", {}).get("pairing") == "pair"
    if momentum and (model.cfg.method == "byol" or pairs):  # whose target network sees them too
        keys = keys + views[:1] * extra
    grad: list[Tensor] = []
    looked, negatives, look = [], [], None
    if "saliency" in model.strategies:
        strategy = model.strategies["saliency"]
        look = strategy.localizer.network
        negatives = views[: len(strategy.masked)] if strategy.options.negatives else []
        looked = views if negatives else views[: len(strategy.masked)]
    key_network = online
    if momentum:
        key_network = torch.nn.Sequential(model.momentum_backbone, model.momentum_projector)

    def floor(_: int) -> None:
        online.zero_grad(set_to_none=True)
        with autocast():
            outs = [online(x.contiguous(memory_format=torch.channels_last)) for x in inputs]
        if not grad:
            grad.append(torch.full_like(outs[0], 1e-3))
        with torch.no_grad(), autocast():
            for x in looked:
                look(x.contiguous(memory_format=torch.channels_last))
            for x in [*keys, *negatives]:
                key_network(x.contiguous(memory_format=torch.channels_last))
        torch.autograd.backward(outs, grad * len(outs))

    return floor


def make_adios_floor(
    model: Any, views: list[Tensor], autocast: Context = nullcontext
) -> Callable[[int], None]:
    """The passes of networks and occluder alone, with masks that are not learnt."""
    adios, family = model.strategies["adios"], model.family
    o, occluder = adios.options, adios.occluder
    one_way = model.cfg.method == "mocov2" and not model.cfg.method_kwargs.symmetric
    heads = [model.projector] + ([model.predictor] if hasattr(model, "predictor") else [])
    online = torch.nn.Sequential(model.backbone, *heads)
    views = [x.contiguous(memory_format=torch.channels_last) for x in views]
    seen = [views[v] for v in {"first": [0], "second": [1], "both": [0, 1]}[o.views]]
    whole = views[:1] if one_way else views
    learning = list(whole) if adios.host_weight else []
    if o.pairing == "pair" and not learning:
        learning = [x for x in views if not any(x is y for y in seen)]
    measured = [x for x in whole if not any(x is y for y in learning)]
    masked = [0.75 * x for x in seen for _ in range(1 if o.single else o.slots)]
    targets = (views[1:] if one_way else views) if hasattr(model, "momentum_backbone") else []
    targets = targets + (masked if model.cfg.method == "byol" else [])
    again = learning if family.predicted == "z" else []
    alternating = o.schedule == "alternating"

    def backward(outs: list[Tensor], **where: Any) -> None:
        torch.autograd.backward(outs, [torch.full_like(x, 1e-3) for x in outs], **where)

    def floor(_: int) -> None:
        online.zero_grad(set_to_none=True)
        occluder.zero_grad(set_to_none=True)
        pixels = [x.detach().requires_grad_() for x in masked]
        with autocast():
            if alternating:
                with torch.no_grad():
                    drawn = [occluder(x) for x in seen]
            else:
                drawn = [occluder(x) for x in seen]
            outs = [online(x) for x in [*learning, *(masked if alternating else pixels)]]
            with torch.no_grad():
                for x in measured:
                    online(x)
                for x in targets:
                    model.momentum_projector(model.momentum_backbone(x))
        backward(outs + ([] if alternating else drawn))
        if alternating:
            with autocast():
                with torch.no_grad():
                    for x in again:
                        online(x)
                drawn = [occluder(x) for x in seen]
                outs = [online(x) for x in pixels]
            backward(outs, inputs=pixels)
            backward(drawn)

    return floor


def timed(run: Callable[[int], None], i: int, cuda: bool) -> float:
    """Milliseconds of one call."""
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    run(i)
    if cuda:
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def measure(method: str, strategy: str, args: argparse.Namespace) -> dict[str, Any]:
    """Times step, floor and compiled step in turn, every second time the other way round."""
    model = build(method, strategy, args)
    generator = torch.Generator().manual_seed(0)
    views = [
        torch.randn(args.batch, 3, args.size, args.size, generator=generator).to(args.device)
        for _ in range(4 if strategy == "mscn" else 2)
    ]
    labels = torch.arange(args.batch, device=args.device)
    batch = [labels, views, labels % 10]
    cuda = args.device.startswith("cuda")
    autocast: Context = nullcontext
    if args.precision == "bf16":
        autocast = partial(torch.autocast, args.device.partition(":")[0], torch.bfloat16)
    runs = {"step": make_step(model, batch, autocast)}
    if "adios" in STRATEGIES[strategy]:
        runs["floor"] = make_adios_floor(model, views, autocast)
    else:
        runs["floor"] = make_floor(model, views[:2], EXTRA.get(strategy, 0), autocast)
    if args.compile:
        runs["compiled"] = make_step(build(method, strategy, args, compiled=True), batch, autocast)
    for i in range(args.warmup):
        for run in runs.values():
            run(i)
    times: dict[str, list[float]] = {name: [] for name in runs}
    loads: list[float] = []
    for i in range(args.repeats):
        with tell_load(loads):
            for name in list(runs)[:: (-1) ** i]:
                times[name].append(timed(runs[name], args.warmup + i, cuda))
    steps, floors = times["step"], times["floor"]
    ratios = [f / s for f, s in zip(floors, steps, strict=True)]
    more = {}
    if args.compile:
        faster = [c / s for c, s in zip(times["compiled"], steps, strict=True)]
        more = {
            "compiled_ms": statistics.median(times["compiled"]),
            "compiled_over_eager": statistics.median(faster),
        }
    return {
        "method": method,
        "strategy": strategy,
        "step_ms": statistics.median(steps),
        "floor_ms": statistics.median(floors),
        "floor_over_step": statistics.median(ratios),
        "ratios": ratios,
        "other_load_cores": loads,
        "target": _target(method, strategy),
        **more,
    }


def _target(method: str, strategy: str) -> float | None:
    """MoCo's big queue weighs most where there are few passes; its bars are those with mixtures."""
    if strategy.startswith("saliency"):
        return 0.94
    if method.startswith("moco") and strategy == "vanilla":
        return None
    if strategy == "mscn":
        return 0.95
    if strategy.startswith("adios"):
        return 0.93
    return TARGETS.get(method, 0.97)


def main() -> int:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument(
        "--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES)
    )
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", default="32", choices=("32", "bf16"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="time the compiled step too")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    print(f"{'method':13} {'strategy':18} {'step ms':>9} {'floor ms':>9} {'floor/step':>11} target")
    for method in args.methods:
        for strategy in args.strategies:
            row = measure(method, strategy, args)
            rows.append(row)
            print(
                f"{method:13} {strategy:18} {row['step_ms']:9.1f} {row['floor_ms']:9.1f} "
                f"{row['floor_over_step']:11.3f} {row['target'] or ''}",
                flush=True,
            )
            if args.compile:
                print(f"{'':13} compiled/eager {row['compiled_over_eager']:.3f}", flush=True)
    options = {k: v for k, v in vars(args).items() if k != "out"}
    save(args.out, {"benchmark": "step", **conditions(), "options": options, "rows": rows})
    missed = [r for r in rows if r["target"] and round(r["floor_over_step"], 2) < r["target"]]
    return 1 if missed and args.device == "cpu" else 0


if __name__ == "__main__":
    raise SystemExit(main())
