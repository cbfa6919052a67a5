"""Runs the plans of a folder of engines with TensorRT's own Python interface; memory and stream are pycuda's.

Letters: B images, H W canvas.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline_export import custom_ops
from maskline_export.engine import plugin_library
from maskline_export.engine.device_memory import Buffer, DeviceMemory
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
            EngineBuildError: no GPU, no pycuda, or plans of another TensorRT, GPU, file or plugin library than is here.
        """
        self.manifest = load_engines(folder)
        trt = import_tensorrt(self.manifest.runtime)
        self._check_machine(trt)
        for plugin in self.manifest.plugins:
            _check_file(folder / PLUGINS / plugin.file, plugin.sha256)
        if self.manifest.plugins:
            plugin_library.load(trt, folder / PLUGINS / plugin_library.FILE, set(custom_ops.NAMES))
        self._logger = make_logger(trt)
        runtime = trt.Runtime(self._logger)
        self._gpu = DeviceMemory()
        self.milliseconds: dict[str, list[float]] = {name: [] for name, _ in self._stages()}  # of each call, on the GPU
        self._engines = {name: self._load(runtime, folder / info.file, info) for name, info in self._stages()}
        self._contexts = {name: engine.create_execution_context() for name, engine in self._engines.items()}

    def run(self, stage: str, tensors: Tensors) -> Tensors:
        """The outputs of a stage by name; features are rounded to the engine's type and come back as float32.

        Raises:
            EngineBuildError: no profile holds these shapes, or TensorRT fails.
            KeyError: an input is missing.
        """
        gpu, info = self._gpu, self.manifest.stages[stage]
        inputs = {tensor.name: gpu.upload(tensors[tensor.name], tensor.dtype) for tensor in info.inputs}
        return {name: gpu.download(buffer) for name, buffer in self._run(stage, inputs).items()}

    def run_all(self, tensors: Tensors) -> Tensors:
        """Every stage after the other; what one hands to the next stays on the GPU.

        Args:
            tensors: what no stage makes: `canvas`, `image_info`.

        Returns:
            The outputs of all stages but the first, whose features and RPN outputs none but they read.

        Raises:
            EngineBuildError, KeyError: as `run`.
        """
        gpu, stages = self._gpu, self.manifest.stages
        dtypes = {tensor.name: tensor.dtype for info in stages.values() for tensor in info.inputs}
        buffers = {name: gpu.upload(array, dtypes[name]) for name, array in tensors.items()}
        for stage in stages:
            buffers |= self._run(stage, buffers)
        _, *later = stages.values()
        return {tensor.name: gpu.download(buffers[tensor.name]) for info in later for tensor in info.outputs}

    def _run(self, stage: str, inputs: dict[str, Buffer]) -> dict[str, Buffer]:
        """A stage's outputs on the GPU; of `inputs` it takes what it has."""
        context, info, gpu = self._contexts[stage], self.manifest.stages[stage], self._gpu
        shapes = {tensor.name: inputs[tensor.name].shape for tensor in info.inputs}
        context.set_optimization_profile_async(self._profile(stage, shapes), gpu.stream)
        for name, shape in shapes.items():
            context.set_input_shape(name, shape)
            context.set_tensor_address(name, inputs[name].address)
        outputs = {}
        for tensor in info.outputs:
            outputs[tensor.name] = gpu.empty(tuple(context.get_tensor_shape(tensor.name)), tensor.dtype)
            context.set_tensor_address(tensor.name, outputs[tensor.name].address)
        runs, milliseconds = gpu.timed(lambda: bool(context.execute_async_v3(gpu.stream)))
        if not runs:
            raise EngineBuildError(
                f"{stage}: TensorRT does not run it; it says: {' | '.join(self._logger.errors)[:600]}"
            )
        self.milliseconds[stage].append(milliseconds)
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
