"""The processes of one training run: started by torchrun, or just this one.

DistributedDataParallel averages gradients over processes; the losses divide by the mean count over processes
(`model.losses.averages`), so W processes on parts of a batch get the gradients of one process on the joint batch.
Proved by tests/unit/train/training/test_ddp.py. Batch norms that train are the exception: each process normalises
with the statistics of its own part.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Processes:
    """Which process this is, of how many, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files and talks."""
        return self.rank == 0

    def share_of(self, total_batch: int) -> int:
        """Images a step of this process.

        Raises:
            ValueError: the batch cannot be cut into equal shares.
        """
        if total_batch % self.world:
            raise ValueError(
                f"total batch: got {total_batch} images for {self.world} processes, expected a multiple; "
                f"start another number of processes or pass --total-batch"
            )
        return total_batch // self.world


@contextlib.contextmanager
def process_group() -> Iterator[Processes]:
    """Join the processes that torchrun started (nccl with GPUs, gloo without), or be the only one.

    One process takes one GPU, `LOCAL_RANK`.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if world == 1:
        yield Processes(0, 1, device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(rank, world, device)
    finally:
        dist.destroy_process_group()


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of `value` over all processes, without gradient; `value` itself when there is only one."""
    if not (dist.is_available() and dist.is_initialized()):
        return value.detach()
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def gather_objects(value: _T) -> list[_T]:
    """Everybody's `value` in rank order, in every process."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    gathered: list[_T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return cast(list[_T], gathered)


def barrier() -> None:
    """Wait until every process is here."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


@torch.no_grad()
def average_norm_statistics(model: nn.Module) -> None:
    """Give every process the mean of the running statistics of the batch norms that train.

    Each process keeps its own while training (they do not enter the losses); evaluation and checkpoints need one.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.training:
            for statistic in (module.running_mean, module.running_var):
                assert statistic is not None
                statistic.copy_(mean_over_processes(statistic))
