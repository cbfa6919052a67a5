"""Runs the plans of a folder of engines with TensorRT's own Python interface; buffers and streams are torch's.

Letters: B images, H W canvas.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline_export import custom_ops
from maskline_export.engine import plugin_library
from maskline_export.engine.engine_manifest import PLUGINS, EngineInfo, load_engines
from maskline_export.engine.tensorrt_module import first_gpu, import_tensorrt, make_logger
from maskline_export.errors import EngineBuildError
from maskline_export.manifest import sha256

Tensors = dict[str, npt.NDArray[np.generic]]


class TensorRTStages:
    """The engines of a folder, on the first GPU; one call runs one stage and waits for it."""

    def __init__(self, folder: Path) -> None:
        """Load every plan.

        Raises:
            EngineBuildError: no GPU, or plans of another TensorRT, GPU, file or plugin library than is here.
        """
        import torch  # for buffers on the GPU; building engines does without

        self._torch = torch
        self.manifest = load_engines(folder)
        trt = import_tensorrt(self.manifest.runtime)
        self._check_machine(trt)
        for plugin in self.manifest.plugins:
            _check_file(folder / PLUGINS / plugin.file, plugin.sha256)
        if self.manifest.plugins:
            plugin_library.load(trt, folder / PLUGINS / plugin_library.FILE, set(custom_ops.NAMES))
        self._logger = make_logger(trt)
        runtime = trt.Runtime(self._logger)
        self._dtypes = {
            "UINT8": torch.uint8,
            "INT32": torch.int32,
            "FP32": torch.float32,
            "FP16": torch.float16,
            "BF16": torch.bfloat16,
        }
        self._engines = {name: self._load(runtime, folder / info.file, info) for name, info in self._stages()}
        self._contexts = {name: engine.create_execution_context() for name, engine in self._engines.items()}

    def run(self, stage: str, tensors: Tensors) -> Tensors:
        """The outputs of a stage by name; features are rounded to the engine's type and come back as float32.

        Raises:
            EngineBuildError: no profile holds these shapes, or TensorRT fails.
            KeyError: an input is missing.
        """
        torch = self._torch
        names = [tensor.name for tensor in self.manifest.stages[stage].inputs]
        found = self.run_on_gpu(stage, {n: torch.from_numpy(np.ascontiguousarray(tensors[n])).cuda() for n in names})
        halves = (torch.float16, torch.bfloat16)
        return {
            name: (value.float() if value.dtype in halves else value).cpu().numpy() for name, value in found.items()
        }

    def run_on_gpu(self, stage: str, tensors: dict[str, Any]) -> dict[str, Any]:
        """The same with torch's tensors on the GPU, in the engine's types: what one stage gives another can take.

        Raises:
            EngineBuildError: no profile holds these shapes, or TensorRT fails.
            KeyError: an input is missing.
        """
        torch, context, info = self._torch, self._contexts[stage], self.manifest.stages[stage]
        inputs = {tensor.name: tensors[tensor.name].to(self._dtypes[tensor.dtype]) for tensor in info.inputs}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        shapes = {name: tuple(value.shape) for name, value in inputs.items()}
        context.set_optimization_profile_async(self._profile(stage, shapes), stream.cuda_stream)
        for name, value in inputs.items():
            context.set_input_shape(name, shapes[name])
            context.set_tensor_address(name, value.data_ptr())
        outputs: dict[str, Any] = {}
        for tensor in info.outputs:
            shape = tuple(context.get_tensor_shape(tensor.name))
            # Not zeros: an element that the engine does not write must show.
            outputs[tensor.name] = torch.empty(shape, dtype=self._dtypes[tensor.dtype], device="cuda")
            context.set_tensor_address(tensor.name, outputs[tensor.name].data_ptr())
        if not context.execute_async_v3(stream.cuda_stream):
            raise EngineBuildError(
                f"{stage}: TensorRT does not run it; it says: {' | '.join(self._logger.errors)[:600]}"
            )
        stream.synchronize()
        return outputs

    def _stages(self) -> list[tuple[str, EngineInfo]]:
        return list(self.manifest.stages.items())

    def _check_machine(self, trt: Any) -> None:
        gpu = first_gpu()
        if gpu is None:
            raise EngineBuildError("no NVIDIA GPU found, which engines run on; run this on the machine that will serve")
        built, here = (self.manifest.version, self.manifest.compute_capability), (trt.__version__, gpu[1])
        if built != here:
            raise EngineBuildError(
                f"engines: got plans of TensorRT {built[0]} for compute capability {built[1]}, expected {here[0]} and "
                f"{here[1]} as on this machine; build them here"
            )

    def _load(self, runtime: Any, path: Path, info: EngineInfo) -> Any:
        _check_file(path, info.sha256)
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            said = " | ".join(self._logger.errors)[:600]
            raise EngineBuildError(f"{path}: TensorRT does not load it; it says: {said}; build the engines again")
        return engine

    def _profile(self, stage: str, shapes: dict[str, tuple[int, ...]]) -> int:
        info = self.manifest.stages[stage]
        for index, profile in enumerate(self.manifest.profiles):
            if all(_within(shapes[tensor.name], *profile.shapes(tensor)[::2]) for tensor in info.inputs):
                return index
        raise EngineBuildError(
            f"{stage}: got inputs {shapes}, expected shapes of a profile: {', '.join(map(str, self.manifest.profiles))}"
        )


def _within(shape: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...]) -> bool:
    return len(shape) == len(low) and all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True))


def _check_file(path: Path, expected: str) -> None:
    if not path.is_file() or sha256(path) != expected:
        raise EngineBuildError(f"{path}: missing or changed since it was built; build the engines again")
