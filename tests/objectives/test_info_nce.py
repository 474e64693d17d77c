# SPDX-License-Identifier: MIT
"""InfoNCE against the published code's numbers, a slow reference, and its own promises."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mixmask_solo.objectives import (
    Share,
    info_nce,
    info_nce_from_lse,
    queue_lse,
    shared_queue_lse,
    weigh,
)


def unit(*shape: int, seed: int = 0, dim: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=dim)


def reference(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Cross entropy over K + 1 logits, the positive first."""
    positive = (query * key).sum(1, keepdim=True)
    logits = torch.cat([positive, query @ queue], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long), reduction="none")


@pytest.fixture
def moco(golden):
    return {
        k: torch.from_numpy(v) for k, v in golden("mixmask_moco").items() if v.dtype.kind in "fi"
    }


def nce(g: dict[str, Tensor], encoder_output: Tensor, key: Tensor) -> Tensor:
    """Golden gradients are by the encoder's output, before the normalisation."""
    return info_nce(F.normalize(encoder_output, dim=1), key, g["queue"], float(g["T"]))


def mix_loss(g, q_mixed: Tensor, key: Tensor, partner: Tensor, lam: Tensor) -> Tensor:
    share = torch.as_tensor(lam).expand(len(key))
    sources = [Share(None, share), Share(partner, 1 - share)]
    return weigh(lambda q, k: nce(g, q, k), q_mixed, key, sources)


def test_mixmask_moco_parity(moco):
    q, q_mixed = moco["q"].requires_grad_(), moco["q_mixed"].requires_grad_()
    k, lam = moco["k"], moco["lam"]
    reverse = torch.arange(len(k)).flip(0)
    clean = nce(moco, q, k).mean()
    total = clean + mix_loss(moco, q_mixed, k, reverse, lam)
    total.backward()
    expect = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(clean, moco["loss_o"], **expect)
    torch.testing.assert_close(nce(moco, q_mixed, k).mean(), moco["loss_m"], **expect)
    torch.testing.assert_close(nce(moco, q_mixed, k[reverse]).mean(), moco["loss_m_flip"], **expect)
    torch.testing.assert_close(total, moco["total"], **expect)
    torch.testing.assert_close(q.grad, moco["grad_q"], **expect)
    torch.testing.assert_close(q_mixed.grad, moco["grad_q_mixed"], **expect)
    for lam_extra, total_extra in zip(moco["lam_extra"], moco["total_extra"], strict=True):
        again = clean + mix_loss(moco, q_mixed, k, reverse, lam_extra)
        torch.testing.assert_close(again, total_extra, **expect)


def test_mixmask_and_unmix_parity_with_a_permutation_that_is_no_involution(golden):
    g = {k: torch.from_numpy(v) for k, v in golden("mixmask_both_moco").items()}
    leaves = {name: g[name].requires_grad_() for name in ("q", "q_mixed", "q_mask")}
    reverse = torch.arange(len(g["k"])).flip(0)
    total = nce(g, g["q"], g["k"]).mean()
    total = total + mix_loss(g, g["q_mixed"], g["k"], reverse, g["lam_unmix"])
    total = total + mix_loss(g, g["q_mask"], g["k"], g["index_mask"], g["lam_mask"])
    total.backward()
    torch.testing.assert_close(total, g["total"], rtol=0, atol=1e-10)
    for name, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad, g[f"grad_{name}"], rtol=0, atol=1e-10)
    wrong = torch.argsort(g["index_mask"])
    other = mix_loss(g, g["q_mask"], g["k"], wrong, g["lam_mask"])
    assert (other - mix_loss(g, g["q_mask"], g["k"], g["index_mask"], g["lam_mask"])).abs() > 1e-3


def test_symmetric_unmix_parity(golden):
    g = {k: torch.from_numpy(v) for k, v in golden("unmix_symmetric_moco").items() if v.ndim < 3}
    leaves = {name: g[name].requires_grad_() for name in ("q1", "q2", "q_mixed")}
    reverse = torch.arange(len(g["k1"])).flip(0)
    asymmetric = nce(g, g["q1"], g["k2"]).mean()
    asymmetric = asymmetric + mix_loss(g, g["q_mixed"], g["k2"], reverse, g["lam"])
    total = asymmetric + nce(g, g["q2"], g["k1"]).mean()
    total = total + mix_loss(g, g["q_mixed"], g["k1"], reverse, g["lam"])
    total.backward()
    torch.testing.assert_close(asymmetric, g["total_asymmetric"], rtol=0, atol=1e-10)
    torch.testing.assert_close(total, g["total_symmetric"], rtol=0, atol=1e-10)
    for name, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad, g[f"grad_{name}"], rtol=0, atol=1e-10)


def test_solo_loss_parity(golden):
    g = {k: torch.from_numpy(v) for k, v in golden("solo_losses").items() if k.startswith("moco")}
    q = g["moco_q"].requires_grad_()
    loss = info_nce(q, g["moco_k"], g["moco_queue"], 0.2).mean()
    loss.backward()
    torch.testing.assert_close(loss, g["moco_loss"], rtol=0, atol=1e-10)
    torch.testing.assert_close(q.grad, g["moco_grad_q"], rtol=0, atol=1e-10)
    raw = info_nce(2.5 * q, 0.5 * g["moco_k"], 1.5 * g["moco_queue"], 0.2).mean()
    torch.testing.assert_close(raw, g["moco_loss_unnormalised"], rtol=0, atol=1e-10)


@given(
    n=st.integers(1, 5),
    keys=st.sampled_from([1, 7, 2047, 2048, 2049, 5000]),
    temperature=st.sampled_from([0.01, 0.07, 0.2, 1.0]),
)
def test_any_number_of_chunks_equals_one_cross_entropy(n, keys, temperature):
    query, key = unit(n, 6).requires_grad_(), unit(n, 6, seed=1)
    queue = unit(6, keys, seed=2, dim=0)
    expected = reference(query, key, queue, temperature)
    (slope,) = torch.autograd.grad(expected.square().sum(), query)
    actual = info_nce(query, key, queue, temperature)
    (actual_slope,) = torch.autograd.grad(actual.square().sum(), query)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(actual_slope, slope, rtol=1e-9, atol=1e-9)


def test_gradcheck():
    queue = unit(4, 9, seed=2, dim=0)
    query = unit(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: queue_lse(q, queue, 0.3), (query,))


def test_gradient_survives_an_overwritten_queue():
    query, key, queue = unit(4, 6).requires_grad_(), unit(4, 6, seed=1), unit(6, 10, seed=2, dim=0)
    (expected,) = torch.autograd.grad(reference(query, key, queue, 0.2).sum(), query)
    loss = info_nce(query, key, queue, 0.2).sum()
    queue.fill_(1e6)
    (actual,) = torch.autograd.grad(loss, query)
    torch.testing.assert_close(actual, expected)


def test_key_gets_no_gradient():
    query, key = unit(4, 6).requires_grad_(), unit(4, 6, seed=1).requires_grad_()
    info_nce(query, key, unit(6, 10, seed=2, dim=0), 0.2).sum().backward()
    assert key.grad is None
    assert query.grad is not None


def test_stacked_queries_share_one_pass():
    a, b, queue = unit(4, 6), unit(3, 6, seed=1), unit(6, 10, seed=2, dim=0)
    both = shared_queue_lse(queue, [a, b], 0.2)
    torch.testing.assert_close(both[0], queue_lse(a, queue, 0.2))
    torch.testing.assert_close(both[1], queue_lse(b, queue, 0.2))


def test_a_batch_that_enters_no_loss_gets_no_gradient():
    a, b = unit(4, 6).requires_grad_(), unit(3, 6, seed=1).requires_grad_()
    queue = unit(6, 10, seed=2, dim=0)
    shared_queue_lse(queue, [a, b], 0.2)[1].sum().backward()
    (expected,) = torch.autograd.grad(queue_lse(b, queue, 0.2).sum(), b)
    assert a.grad is None
    torch.testing.assert_close(b.grad, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_input_is_lifted_to_float32(dtype, autocast):
    query, key, queue = unit(4, 6).to(dtype), unit(4, 6, seed=1), unit(6, 10, seed=2, dim=0)
    query.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = info_nce(query, key.to(dtype), queue.float(), 0.2)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert query.grad is not None
    assert query.grad.dtype == dtype
    exact = reference(query.double(), key.to(dtype).double(), queue, 0.2)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-6)


def test_confident_positives_keep_their_precision():
    """A positive far above all negatives: the loss is tiny but not rounded to zero."""
    query = unit(1, 4)
    lse = torch.tensor([-30.0], dtype=torch.float64)
    loss = info_nce_from_lse(query, query, lse, 1.0)
    torch.testing.assert_close(loss.item(), float(torch.exp(torch.tensor(-31.0).double())))
