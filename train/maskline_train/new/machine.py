"""The machine that a recipe is for: what it computes on, and how much of it there is."""

from __future__ import annotations

import dataclasses
import os

import torch
from maskline_command.wording import counted

from maskline_train.processor import cpu_info

GIB = 1 << 30
# Of processors that multiply bfloat16 themselves; on others bf16 is slower than float32.
_BF16_FLAGS = {"amx_bf16", "avx512_bf16"}


@dataclasses.dataclass(frozen=True)
class Machine:
    """One processor with its memory, or one GPU beside it.

    Attributes:
        cores: that this process may use.
        memory_gib: of the host.
        bf16: whether the device multiplies bfloat16 numbers faster than float32 ones.
        gpu: its name; "" without one.
        gpu_memory_gib: 0 without one.
    """

    cores: int
    memory_gib: float
    bf16: bool
    gpu: str = ""
    gpu_memory_gib: float = 0.0

    @property
    def device(self) -> torch.device:
        """What training computes on."""
        return torch.device("cuda", 0) if self.gpu else torch.device("cpu")

    def describe(self) -> str:
        """E.g. `2 CPU cores, 24 GiB of memory`."""
        host = f"{counted(self.cores, 'CPU core')}, {self.memory_gib:.0f} GiB of memory"
        return f"{self.gpu} ({self.gpu_memory_gib:.0f} GiB), {host}" if self.gpu else host


def this_machine(*, use_gpu: bool) -> Machine:
    """The machine that this runs on; `use_gpu`: with its first GPU, where it has one."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    if not use_gpu or not torch.cuda.is_available():
        return Machine(cores, memory, bool(_BF16_FLAGS & set(cpu_info("flags").split())))
    found = torch.cuda.get_device_properties(0)
    return Machine(
        cores, memory, torch.cuda.is_bf16_supported(including_emulation=False), found.name, found.total_memory / GIB
    )
