"""The processor settings under which a machine computes as other machines do."""

from __future__ import annotations

import dataclasses
import itertools

# ATen's kernels and oneDNN's are chosen apart; a setting beyond what the processor has falls back to what it has.
CAPABILITIES = ("default", "avx2", "avx512")
ISAS = ("AVX2", "AVX512_CORE", "AVX512_CORE_BF16")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to compute.

    Attributes:
        capability: of ATen's kernels.
        isa: the most that oneDNN may use.
        threads: of both.
    """

    capability: str
    isa: str
    threads: int

    @property
    def name(self) -> str:
        """As in the tables."""
        return f"{self.capability}/{self.isa}/{self.threads}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that bring it about; threads that wait sleep, so that two on a busy machine do not spin."""
        return {
            "ATEN_CPU_CAPABILITY": self.capability,
            "ONEDNN_MAX_CPU_ISA": self.isa,
            "OMP_NUM_THREADS": str(self.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
        }


ALL = [Setting(*parts) for parts in itertools.product(CAPABILITIES, ISAS, (1, 2))]
# Where a short time is spent first: five training steps in float32 on an AMD EPYC (Zen 4) gave other bits under each of
# these, the same bits under AVX512_CORE and AVX512_CORE_BF16, and the same under avx2 and avx512 with AVX2.
FEW = [
    Setting(capability, isa, threads)
    for threads in (1, 2)
    for capability, isa in (
        ("avx512", "AVX512_CORE_BF16"),
        ("avx2", "AVX2"),
        ("default", "AVX512_CORE"),
        ("avx2", "AVX512_CORE"),
    )
]
