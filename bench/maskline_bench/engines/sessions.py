"""The stages of an artifact as sessions of ONNX Runtime that hand tensors on where they lie, without a copy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime as ort
import torch
from maskline_export.verify.onnx_runtime import STAGES
from maskline_host import int8_products
from torch import Tensor

from maskline_bench.errors import BenchmarkError

Arrays = dict[str, npt.NDArray[Any]]

# HEURISTIC: the exhaustive search costs up to a second for each new shape and finds nothing faster in the steady state.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0", "prefer_nhwc": "1"}


class Sessions:
    """The stages in the order in which they run."""

    def __init__(
        self,
        artifact: Path,
        device: str,
        threads: int,
        library: Path | None,
        *,
        profile: Path | None = None,
    ) -> None:
        """Load them.

        Args:
            artifact: folder that `maskline-export` wrote.
            device: `cpu` or `cuda`.
            threads: of each session on the CPU.
            library: of custom ops; None: the bodies run.
            profile: folder for a file a stage in which each node's provider and time are written; None: none.

        Raises:
            BenchmarkError: this onnxruntime has no CUDA provider.
        """
        if device == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
            raise BenchmarkError(
                f"onnxruntime {ort.__version__}: got providers {', '.join(ort.get_available_providers())}, expected "
                "CUDAExecutionProvider; install onnxruntime-gpu instead of onnxruntime"
            )
        providers = [("CUDAExecutionProvider", _CUDA_OPTIONS)] if device == "cuda" else ["CPUExecutionProvider"]
        self.device = device
        self.stages: dict[str, ort.InferenceSession] = {}
        for name in STAGES:
            file = artifact / f"{name}.onnx"
            if file.is_file():
                options = ort.SessionOptions()
                options.intra_op_num_threads = threads
                options.log_severity_level = 3
                if profile is not None:
                    options.enable_profiling = True
                    options.profile_file_prefix = str(profile / name)
                int8_products.keep_exact(options)
                if library is not None:
                    options.register_custom_ops_library(str(library))
                self.stages[name] = ort.InferenceSession(str(file), options, providers=providers)

    def put(self, arrays: Arrays) -> dict[str, ort.OrtValue]:
        """The arrays on the device."""
        return {name: ort.OrtValue.ortvalue_from_numpy(array, self.device) for name, array in arrays.items()}

    def on_host(self, arrays: Arrays) -> Arrays:
        """What the stages answer, of arrays on the host to arrays on the host; the features stay where they are."""
        values = self.run(self.put(arrays))
        names = (
            value.name for name, session in self.stages.items() if name != STAGES[0] for value in session.get_outputs()
        )
        return {name: values[name].numpy() for name in names}

    def run(self, given: dict[str, ort.OrtValue], seconds: dict[str, list[float]] | None = None) -> Any:
        """All tensors by name after the last stage, on the device; `seconds` gets one entry a stage."""
        values = dict(given)
        for name, session in self.stages.items():
            start = time.perf_counter()
            binding = session.io_binding()
            for value in session.get_inputs():
                binding.bind_ortvalue_input(value.name, values[value.name])
            for value in session.get_outputs():
                binding.bind_output(value.name, self.device)
            session.run_with_iobinding(binding)  # returns when the outputs are there
            names = (value.name for value in session.get_outputs())
            values.update(zip(names, binding.get_outputs(), strict=True))
            if seconds is not None:
                seconds.setdefault(name, []).append(time.perf_counter() - start)
        return values


def detections_of(values: dict[str, ort.OrtValue]) -> Arrays:
    """Boxes [B, D, 4], labels [B, D] and their numbers [B, 1] of what `Sessions.run` gives, on the host."""
    return {name: values[name].numpy() for name in ("boxes", "labels", "num_detections")}


def boxes_of(found: Arrays, image: int) -> tuple[Tensor, Tensor]:
    """Boxes [N, 4] and labels [N] of one image."""
    count = int(found["num_detections"][image, 0])
    return torch.from_numpy(found["boxes"][image, :count]), torch.from_numpy(found["labels"][image, :count])
