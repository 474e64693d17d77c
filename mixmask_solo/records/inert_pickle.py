# SPDX-License-Identifier: MIT
"""A pickle module for ``torch.load`` that rebuilds tensors and containers and runs nothing else.

A pickle may call whatever it can name. Here it can name the few functions that make tensors; all
else is a class whose instances do nothing. Nothing it gets has attributes it could set:
``torch.load`` itself trusts some of them.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Inert(dict[Any, Any]):
    """Stands for an instance of a class that is not loaded.

    What a pickle does to it has no effect, but a mapping's items are kept: weights may lie in one.
    """

    __slots__ = ("is_module",)  # whether that was a whole ``torch.nn.Module``
    origin = ""  # full name of the class, or function, it stands for
    dump_patches = False  # else torch.load may write a file, for a class of its old format

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        new = super().__new__(cls)
        new.is_module = False
        return new

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.is_module = isinstance(state, dict) and "_parameters" in state

    def append(self, *items: Any) -> None:
        """Nothing."""

    extend = add = append
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


class _Ordered(OrderedDict[Any, Any]):
    """Without the attributes that a pickle gives it, such as a state dict's ``_metadata``."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Function:
    """A function that a pickle may call and not change."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        pass


def _without_hooks(rebuild: Callable[..., Tensor]) -> _Function:
    """Fifth and sixth of the arguments are whether it requires gradients, and its hooks."""
    return _Function(lambda *args: rebuild(*args[:4], False, OrderedDict(), *args[6:]))


_DATA = _Function(lambda data, *rest: data)
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Ordered,
    ("torch", "Size"): _Function(torch.Size),
    ("torch", "device"): _Function(torch.device),
    # a tensor with attributes: its function, class, arguments, attributes
    ("torch._tensor", "_rebuild_from_type_v2"): _Function(lambda make, kind, args, *_: make(*args)),
    ("torch._utils", "_rebuild_parameter"): _DATA,
    ("torch._utils", "_rebuild_parameter_with_state"): _DATA,
    ("torch._utils", "_rebuild_tensor"): _Function(torch._utils._rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _without_hooks(torch._utils._rebuild_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v3"): _without_hooks(torch._utils._rebuild_tensor_v3),
}


class Unpickler(pickle.Unpickler):
    """``torch.load`` derives from it and resolves storages itself."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for; nothing is imported."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and isinstance(torch.__dict__.get(name), torch.dtype):
            return torch.__dict__[name]
        # A module that does not exist: nobody shall look for the source of such a class.
        body = {"__slots__": (), "__module__": "<file>", "origin": f"{module}.{name}"}
        return type(name, (Inert,), body)


def load(file: Any, **options: Any) -> Any:
    return Unpickler(file, **options).load()
