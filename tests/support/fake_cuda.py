# SPDX-License-Identifier: MIT
"""A machine with one GPU on which nothing is computed, and a watch over what would wait for it.

CPU tensors are real. CUDA tensors are PyTorch's fake ones: shapes, dtypes and devices without
memory. They refuse what a real GPU refuses: a CPU tensor that meets a CUDA one, a generator of
another device, pinning what lies on the GPU. :class:`Watch` notes every operation that would make
the host wait for the device, as ``torch.cuda.set_sync_debug_mode`` does on a real one.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_OURS = "/mixmask_solo/"
_LIBRARIES = ("/lightning/", "/torchmetrics/", "/torch/optim/")
# Their results have as many rows as the device finds.
_SIZES = ("_unique2", "unique_dim", "unique_consecutive", "bincount", "repeat_interleave")
_READ = {"_local_scalar_dense": "item", "item": "item", "equal": "equal", "is_nonzero": "bool"}
_INDEX = ("index", "index_put", "index_put_", "_index_put_impl_")


class _Fake(FakeTensorMode):
    """As on a machine without CUDA, whatever ``torch.cuda.is_available`` pretends."""

    avoid_device_init = True  # type: ignore[assignment]


class _Generator(torch.Generator):
    """Says that it lives on the GPU; the CPU's does the drawing."""

    def __new__(cls, device: Any = "cpu") -> "_Generator":
        self = super().__new__(cls, "cpu")
        self._device = torch.device(device)
        return self

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._device


class _Event:
    """One that has always passed."""

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def record(self, *_: Any) -> None: ...
    def wait(self, *_: Any) -> None: ...
    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        Watch.note("Event.synchronize")


class _Stream:
    device_index = 0

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def wait_event(self, _: Any) -> None: ...
    def wait_stream(self, _: Any) -> None: ...
    def record_event(self, *_: Any) -> _Event:
        return _Event()

    def synchronize(self) -> None:
        Watch.note("Stream.synchronize")


class Watch(TorchDispatchMode):
    """Counts ``(operation, file)`` of whatever would wait, and goes on with a guess.

    The file is ours, with the path below the package, or else the library's that asked.
    """

    current: "Watch | None" = None

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[tuple[str, str]] = Counter()
        self.launches: Counter[str] = Counter()  # of kernels, by operation

    @classmethod
    def note(cls, what: str) -> None:
        if cls.current is not None:
            cls.current.found[what, _place()] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        on_gpu = any(map(_on_gpu, tensors))
        goal = kwargs.get("device")
        goal = None if goal is None else torch.device(goal).type
        if name in ("_to_copy", "copy_"):
            self._copies(name, args, kwargs, goal)
        fake = on_gpu or any(isinstance(x, FakeTensor) for x in tensors)
        if on_gpu:
            self.launches[name] += 1
            if name in _SIZES:
                self.note(name)
            if name.startswith("_fused_") and name.endswith("_"):  # optimisers: no meta kernel
                assert all(map(_on_gpu, tensors)), f"{name}: {[str(x.device) for x in tensors]}"
                return None
        guess = self._guess(name, args, on_gpu) if fake else None
        if guess is not None:
            return guess
        if fake or goal == "cuda":
            return func(*args, **kwargs)
        with unset_fake_temporarily():  # the CPU's tensors are real ones
            return func(*args, **kwargs)

    def _guess(self, name: str, args: Any, on_gpu: bool) -> Any:
        """What stands for a result that only the device knows; None where there is none such."""
        if name in _READ:
            self._read(_READ[name], on_gpu)
            x = args[0]
            if name == "equal":
                return True
            if name == "is_nonzero" or x.dtype is torch.bool:
                return False  # to "is anything wrong?", as a rule
            return 1.0 if x.is_floating_point() else 0
        if name in ("nonzero", "masked_select"):
            self._read(name, on_gpu)
            shape = (0, args[0].ndim) if name == "nonzero" else (0,)  # nothing is left to do
            return args[0].new_empty(shape, dtype=torch.int64 if name == "nonzero" else None)
        if name == "_unique2":
            x = args[0].flatten()
            return x[:10], torch.empty_like(args[0], dtype=torch.int64), x.new_empty(0)
        return self._indexed(name, args, on_gpu) if name in _INDEX else None

    def _indexed(self, name: str, args: Any, on_gpu: bool) -> Any:
        given = [(at, i) for at, i in enumerate(args[1]) if i is not None]
        masks = [(at, i) for at, i in given if i.dtype in (torch.bool, torch.uint8)]
        if masks:
            self._read(f"{name} by a mask", on_gpu)
            if name != "index":
                return args[0]
            (at, mask), shape = masks[0], list(args[0].shape)
            shape[at : at + mask.ndim] = [mask.numel() // 2]
            return args[0].new_empty(shape)
        if _on_gpu(args[0]) and any(not _on_gpu(i) and i.ndim for _, i in given):
            self.note("index on the CPU")
        return None

    def _read(self, what: str, on_gpu: bool) -> None:
        if on_gpu:  # what came to the host is there
            self.note(what)

    def _copies(self, name: str, args: Any, kwargs: Any, goal: str | None) -> None:
        if name == "_to_copy":
            source, to = args[0], goal or args[0].device.type
            ahead = bool(kwargs.get("non_blocking"))
        else:
            source, to = args[1], args[0].device.type
            ahead = bool(args[2] if len(args) > 2 else kwargs.get("non_blocking"))
        if source.device.type == to:
            return
        way = "to the GPU" if to == "cuda" else "to the host"
        if not ahead:
            self.note(f"copy {way}")
            return
        host = source if to == "cuda" else (None if name == "_to_copy" else args[0])
        if not getattr(host, "_pinned", False):
            self.note(f"copy {way}, of pageable memory")


class _Draws(TorchFunctionMode):
    """Refuses generators of another device, as torch's kernels do and the fake mode does not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        generator = kwargs.get("generator")
        if generator is not None:
            here = args[0].device if args and isinstance(args[0], Tensor) else "cpu"
            wanted, given = torch.device(kwargs.get("device") or here).type, generator.device.type
            if given != wanted:
                raise RuntimeError(
                    f"Expected a '{wanted}' device type for generator, not '{given}'"
                )
        return func(*args, **kwargs)


def _on_gpu(x: Tensor) -> bool:
    return x.device.type == "cuda"


def _place() -> str:
    frame: Any = sys._getframe(2)
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    ours = next((f for f in files if _OURS in f), None)
    if ours is not None:
        return ours.rpartition(_OURS)[2]
    others = (f.partition("site-packages/")[2] for f in files if any(x in f for x in _LIBRARIES))
    return next(others, "?")


def to_gpu(module: nn.Module) -> nn.Module:
    """What ``module.cuda()`` moves, and nothing else: parameters and registered buffers.

    The module is made *before* the fake machine (``deepcopy`` does not work there). What it holds
    elsewhere stays on the CPU, and is found when it meets a CUDA tensor.
    """
    moved: dict[int, Tensor] = {}

    def fake(x: Tensor) -> Tensor:
        if id(x) not in moved:
            new = torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device="cuda")
            is_parameter = isinstance(x, nn.Parameter)
            moved[id(x)] = nn.Parameter(new, x.requires_grad) if is_parameter else new
        return moved[id(x)]

    for part in module.modules():
        for group in (part._parameters, part._buffers):
            group.update({name: fake(x) for name, x in group.items() if x is not None})
    return module


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """The machine; its watch."""
    cuda: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "Stream": _Stream,
        "Event": _Event,
        "current_stream": lambda *_: _Stream(),
        "stream": lambda *_: nullcontext(),
        "set_device": lambda *_: None,
        "is_current_stream_capturing": lambda: False,
        "is_bf16_supported": lambda *_, **__: True,
        "synchronize": lambda *_: Watch.note("torch.cuda.synchronize"),
        "mem_get_info": lambda *_: (80 << 30, 80 << 30),
        "manual_seed": lambda *_: None,
        "manual_seed_all": lambda *_: None,
    }
    for name, stand_in in cuda.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch, "Generator", _Generator)
    monkeypatch.setattr(Tensor, "record_stream", lambda *_: None)
    monkeypatch.setattr(Tensor, "pin_memory", _pin)
    monkeypatch.setattr(torch, "empty", _pinning(torch.empty))
    watch = Watch()
    Watch.current = watch
    try:
        with _Fake(allow_non_fake_inputs=True), watch, _Draws():
            yield watch
    finally:
        Watch.current = None


def _pinning(empty: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def stand_in(*args: Any, pin_memory: bool = False, **kwargs: Any) -> Tensor:
        x = empty(*args, **kwargs)
        # never left as it was found: what a run reads there it may judge
        return _pin(x.zero_()) if pin_memory else x

    return stand_in


def _pin(x: Tensor, *_: Any) -> Tensor:
    if x.device.type != "cpu":
        raise RuntimeError(f"cannot pin a {x.device.type} tensor")
    x._pinned = True  # type: ignore[attr-defined]
    return x
