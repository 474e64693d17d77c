# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
import torch

from mixmask_solo.data.order.loading import prefetched


@pytest.mark.parametrize("device", [None, torch.device("cpu")])
def test_on_the_cpu_batches_pass_as_they_are_and_none_ahead_of_time(device) -> None:
    asked = []

    def batches():
        for number in range(3):
            asked.append(number)
            yield [torch.tensor([number]), [torch.zeros(2, 3, 4, 4)]]

    found = prefetched(batches(), device, channels_last=True)
    assert asked == []
    first = next(found)
    assert asked == [0]
    assert first[1][0].is_contiguous()
    assert [int(batch[0]) for batch in found] == [1, 2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_batches_are_the_same_and_one_ahead() -> None:
    device = torch.device("cuda", 0)
    sent = [
        [torch.tensor([i]), [torch.rand(64, 3, 32, 32) for _ in range(2)], {"y": torch.rand(3)}]
        for i in range(8)
    ]
    asked = []

    def batches():
        for number, (indexes, views, more) in enumerate(sent):
            asked.append(number)
            yield [indexes.pin_memory(), [v.pin_memory() for v in views], more]

    for number, batch in enumerate(prefetched(batches(), device, channels_last=True)):
        assert asked[-1] == min(number + 1, 7)
        assert batch[1][0].is_contiguous(memory_format=torch.channels_last)
        torch.cuda._sleep(10_000_000)  # training that takes longer than the next copy
        assert torch.equal(batch[0].cpu(), sent[number][0])
        for view, there in zip(sent[number][1], batch[1], strict=True):
            assert torch.equal(view, there.cpu())
        assert torch.equal(batch[2]["y"].cpu(), sent[number][2]["y"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_batches_at_all() -> None:
    assert list(prefetched([], torch.device("cuda", 0))) == []
