"""Options of ONNX Runtime's provider for CUDA from config.pbtxt, read where Triton's own C++ backend reads them.

The `onnxruntime` backend's file of this name is a link to it, so it imports nothing of ours.

Ref: https://github.com/triton-inference-server/onnxruntime_backend, src/onnxruntime.cc, ModelState::LoadModel.
"""

from __future__ import annotations

from typing import Any

# Parameters of the model, whose numbers are names to ONNX Runtime. The C++ backend sets these from here alone: what it
# finds of them among the options of the accelerator it overwrites with these defaults.
_NUMBERED = {
    "cudnn_conv_algo_search": ("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
    "arena_extend_strategy": ("kNextPowerOfTwo", "kSameAsRequested"),
    "do_copy_in_default_stream": ("0", "1"),
}
_PLAIN = ("gpu_mem_limit",)
OVERWRITTEN = (*_NUMBERED, *_PLAIN)
# TF32 keeps 10 bits of a factor: other answers than the CPU's.
_OURS = {"use_tf32": "0"}


def options(config: dict[str, Any], card: int) -> dict[str, str]:
    """The provider's options.

    Args:
        config: config.pbtxt as Triton's JSON.
        card: number of the GPU.

    Raises:
        ValueError: a parameter with a value that it cannot have.
    """
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    found = dict(_OURS)
    for each in accelerators.get("gpu_execution_accelerator", []):
        if each.get("name") == "cuda":
            found |= {key: value for key, value in each.get("parameters", {}).items() if key not in OVERWRITTEN}
    for key, entry in config.get("parameters", {}).items():
        value = entry["string_value"]
        if key in _NUMBERED:
            names = _NUMBERED[key]
            if not value.isdigit() or int(value) >= len(names):
                allowed = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
                raise ValueError(f"config.pbtxt: parameter {key}: got {value!r}, expected one of {allowed}")
            found[key] = names[int(value)]
        elif key in _PLAIN:
            found[key] = value
    return found | {"device_id": str(card)}
