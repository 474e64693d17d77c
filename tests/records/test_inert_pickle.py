# SPDX-License-Identifier: MIT
"""Whatever a pickle names, calls or sets, nothing of it happens; plain values come back."""

from __future__ import annotations

import pickle
import pickletools
import sys
from collections import OrderedDict
from io import BytesIO
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.records import inert_pickle
from mixmask_solo.records.inert_pickle import Inert

CALLED: list[Any] = []
PLAIN = (type(None), bool, int, float, str, list, tuple, dict)
PROTOCOLS = st.integers(0, pickle.HIGHEST_PROTOCOL)


def spy(*args: Any) -> Any:
    """Notes that it was called."""
    CALLED.append(args)
    return args


class Hooked:
    """Would note a constructor, ``append``, ``__setitem__`` or ``__setstate__`` of its own."""

    def __new__(cls, *args: Any) -> Any:
        spy(*args)
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        spy(state)

    append = extend = __setitem__ = spy


class Reduced:
    """Pickles as these: call, arguments, state, items of a list, items of a mapping."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return self.parts


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=6,
)
calls = st.sampled_from([spy, Hooked, print, exec, eval, sys.exit, getattr, setattr, object])


def hostile(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Calls with arguments, state and items, nested in one another and in plain values."""
    pairs = st.lists(st.tuples(inner, inner), max_size=2)
    return (
        st.builds(
            lambda call, args, state, items, pairs: Reduced(
                call, tuple(args), state, iter(list(items)), iter(list(pairs))
            ),
            *(calls, st.lists(inner, max_size=3), inner, st.lists(inner, max_size=2), pairs),
        )
        | st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    )


def loaded(content: Any, protocol: int) -> Any:
    return inert_pickle.load(BytesIO(pickle.dumps(content, protocol)))


@given(plain, PROTOCOLS)
def test_plain_values_come_back(content: Any, protocol: int) -> None:
    assert loaded(content, protocol) == content


def types(content: Any) -> set[type]:
    """Of everything in it."""
    parts = list(content) if isinstance(content, (list, tuple)) else []
    parts += [*content, *content.values()] if isinstance(content, dict) else []
    return {type(content)}.union(*map(types, parts))


@given(hostile(st.recursive(plain, hostile, max_leaves=6)), PROTOCOLS)
def test_nothing_is_called_and_nothing_else_is_made(content: Any, protocol: int) -> None:
    data = pickle.dumps(content, protocol)
    CALLED.clear()
    try:
        found = inert_pickle.load(BytesIO(data))
    except TypeError:  # a list is a key: that needs no code either
        found = None
    assert all(issubclass(kind, Inert) for kind in types(found) - {*PLAIN})
    assert CALLED == []


@pytest.mark.parametrize("call", [spy, Hooked, exec, sys.exit, getattr, Exception, type, bytearray])
def test_a_call_is_an_inert_object_of_its_name(call: Any) -> None:
    made = loaded(Reduced(call, ("sys",)), 4)
    assert isinstance(made, Inert)
    assert made.origin.rpartition(".")[2] == call.__name__


def test_the_same_pickles_do_call_where_they_may() -> None:
    """So that the test above means something."""
    CALLED.clear()
    data = pickle.dumps([Reduced(spy, (1,)), Reduced(Hooked, (2,), {"a": 3}, iter([4]))])
    pickle.loads(data)
    assert [args[-1] for args in CALLED] == [1, 2, [4], {"a": 3}]


@given(st.lists(st.sampled_from(["os", "torch", "torch._utils", "builtins", "a.b", "é"])))
def test_nothing_is_imported(modules: list[str]) -> None:
    before = dict(sys.modules)
    for module in modules:
        found = inert_pickle.Unpickler(BytesIO()).find_class(module, "system")
        assert issubclass(found, Inert)
        assert found.origin == f"{module}.system"
    assert sys.modules == before


def test_instances_keep_a_mappings_items_and_no_attribute() -> None:
    made = loaded(Reduced(Hooked, (1,), {"lr": 0.1}, iter([5]), iter([("w", 2)])), 4)
    assert isinstance(made, Inert)
    assert made.origin == f"{__name__}.Hooked"
    assert dict(made) == {"w": 2}
    assert not hasattr(made, "lr")
    assert not made.is_module
    assert loaded(torch.nn.ReLU(), 4).is_module
    with pytest.raises(AttributeError):
        made.lr = 0.1


@pytest.mark.parametrize(
    "state", [b"}X\5\0\0\0_callK\7s", b"N}X\5\0\0\0_callK\7s\x86"], ids=["attributes", "slots"]
)
def test_a_function_that_may_be_called_cannot_be_changed(state: bytes) -> None:
    """A pickle names it, sets its state, and calls it with 3: ``state`` would make that a 7."""
    name = b"ctorch._utils\n_rebuild_parameter\n"
    data = b"\x80\2" + name + state + b"b(K\3\x88NtR."
    for _ in range(2):
        assert inert_pickle.load(BytesIO(data)) == 3


def test_an_ordered_mapping_gets_no_attributes() -> None:
    given_state: Any = OrderedDict(w=1)
    given_state._metadata = {"version": 9}
    made = loaded(given_state, 2)
    assert made == {"w": 1}
    assert isinstance(made, OrderedDict)
    assert not hasattr(made, "_metadata")
    assert "BUILD" in {op.name for op, *_ in pickletools.genops(pickle.dumps(given_state, 2))}


def test_the_dtypes_and_sizes_of_tensors_are_themselves() -> None:
    kinds = [torch.float16, torch.bool, torch.complex64]
    assert loaded(kinds, 2) == kinds
    assert loaded(torch.Size([2, 3]), 2) == torch.Size([2, 3])
    assert loaded(torch.device("cuda", 1), 2) == torch.device("cuda", 1)
