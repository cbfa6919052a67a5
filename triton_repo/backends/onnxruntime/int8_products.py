"""Keeps ONNX Runtime's int8 products exact on a processor whose instructions would let them saturate.

Without VNNI an AVX2 or AVX-512 processor adds two products of a uint8 and an int8 number in 16 bits, which hold 32767
and would need 64770; what does not fit is cut off. ONNX Runtime has a setting that multiplies uint8 numbers with each
other instead, and with it loses more than half of its speed also where VNNI is: so it is made where that is missing.
The `onnxruntime` backend's file of this name is a link to this one, so it imports nothing of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_FLAGS = Path("/proc/cpuinfo")
_VNNI = ("avx512_vnni", "avx_vnni")
_ENTRY = ("session.x64quantprecision", "1")


def keep_exact(options: Any, flags: Path = _FLAGS) -> bool:
    """Make the setting in onnxruntime.SessionOptions where the processor needs it; says whether it does.

    Where the kernel does not tell what the processor has, it is made: slower beats wrong.
    """
    try:
        words = set(flags.read_text(encoding="utf-8").split())
    except OSError:
        words = set()
    needed = words.isdisjoint(_VNNI)
    if needed:
        options.add_session_config_entry(*_ENTRY)
    return needed
