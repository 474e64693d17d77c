# SPDX-License-Identifier: MIT
"""Where a random decision gets its generator from: (seed, epoch, batch, rank, stream).

The pair (epoch, batch index) counts batches without knowing how many an epoch has, and unlike
``trainer.global_step`` it does not jump when two optimisers share a batch. A resumed run therefore
repeats exactly what an uninterrupted one draws.
"""

import hashlib
import random
from dataclasses import dataclass

import torch


def seeded(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on ``device`` that depends on every part of ``key`` and on nothing else."""
    generator = torch.Generator(device=device)
    generator.manual_seed(_hash(*key) >> 1)  # manual_seed takes 63 bits
    return generator


def _hash(*key: int | str) -> int:
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@dataclass(frozen=True)
class Step:
    """One training batch of one rank."""

    seed: int  # the run's
    epoch: int  # from 0
    batch: int  # within its epoch, from 0
    rank: int
    device: torch.device  # where the batch lies; generators for tensors live there

    def generator(self, stream: str) -> torch.Generator:
        """For what each rank draws for itself: masks, partners."""
        return seeded(self.seed, self.epoch, self.batch, self.rank, stream, device=self.device)

    def numbers(self, stream: str) -> random.Random:
        """For single numbers each rank draws for itself on the host: coins, a batch's λ.

        Reading them from a device would make the host wait for it.
        """
        return random.Random(_hash(self.seed, self.epoch, self.batch, self.rank, stream))

    def shared(self, stream: str) -> torch.Generator:
        """For what all ranks must agree on (is there a branch at all?), on the CPU: no sync.

        Were ranks to disagree, those with a branch would wait for ever in a gather of negatives.
        """
        return seeded(self.seed, self.epoch, self.batch, stream)

    def pool(self, stream: str, epoch: int, block: int) -> torch.Generator:
        """For draws made ahead: block ``block`` of ``epoch``, whatever batch asks first."""
        return seeded(self.seed, epoch, block, self.rank, stream, device=self.device)
