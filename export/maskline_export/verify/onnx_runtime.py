"""An artifact's stages in ONNX Runtime, chained as the server chains them.

Letters: B images, D detections an image, M mask side, J keypoints, H W canvas.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from maskline_host import int8_products
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

from maskline_export.errors import ContractError
from maskline_export.onnx_file import load_onnx

Tensors = dict[str, npt.NDArray[np.generic]]
Device = Literal["cpu", "cuda"]

STAGES = (
    "backbone",
    "proposal",
    "mask",
    "keypoint",
)  # in the order in which they run; not every model has the last two


_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


def _providers(device: Device) -> list[str]:
    """What computes, best first."""
    if device == "cpu":
        return [_CPU]
    if _CUDA not in ort.get_available_providers():
        raise ContractError(
            "--device cuda: this ONNX Runtime has no GPU; `pip install 'maskline[gpu]'` in an environment of its own"
        )
    return [_CUDA, _CPU]


class OnnxModel:
    """One ONNX model that takes and gives arrays by name."""

    def __init__(
        self, model: Path | onnx.ModelProto, threads: int = 0, library: Path | None = None, device: Device = "cpu"
    ) -> None:
        """Load it.

        Args:
            model: a file or what it holds.
            threads: of the CPU, 0 for all cores.
            library: `libmaskline_ort.so`, which runs our ops instead of their bodies.
            device: what it computes on; a node that the GPU's provider lacks runs on the CPU.

        Raises:
            ContractError: ONNX Runtime here has no such device, or no kernel for a node.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        int8_products.keep_exact(options)
        options.log_severity_level = 3  # warnings about unused initialisers of a cut graph say nothing to a user
        if library is not None:
            options.register_custom_ops_library(str(library))
        whole = load_onnx(model) if isinstance(model, Path) else model
        try:
            self._session = ort.InferenceSession(whole.SerializeToString(), options, providers=_providers(device))
        except (NoKernel, Fail) as error:
            raise ContractError(f"{whole.graph.name}: ONNX Runtime has no kernel for it here: {error}") from error
        if device == "cuda" and self._session.get_providers()[0] != _CUDA:
            raise ContractError("ONNX Runtime fell back from the GPU to the CPU; `maskline-serve doctor` looks why")
        inputs = self._session.get_inputs()
        self.input_names = [value.name for value in inputs]
        self._halves = {value.name for value in inputs if value.type == "tensor(float16)"}
        self.output_names = [value.name for value in self._session.get_outputs()]

    def run(self, tensors: Tensors) -> Tensors:
        """Run on the entries of `tensors` that are inputs; others are ignored, and float32 is rounded where it must be.

        Raises:
            KeyError: an input is missing.
        """
        feeds = {
            name: tensors[name].astype(np.float16) if name in self._halves else tensors[name]
            for name in self.input_names
        }
        return dict(zip(self.output_names, self._session.run(None, feeds), strict=True))


@dataclasses.dataclass(frozen=True)
class RawDetections:
    """What the `maskrcnn_engines` ensemble answers: boxes in canvas pixels and M x M masks.

    Attributes:
        boxes: [B, D, 4] float32 xyxy, canvas px; rows past the count are zero.
        scores: [B, D] float32, descending.
        labels: [B, D] int32, -1 past the count.
        num_detections: [B, 1] int32.
        masks: [B, D, M, M] float32 probabilities; None without a mask stage.
        keypoints: [B, D, J, 3] float32 x, y in canvas px and score; None without a keypoint stage.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    num_detections: npt.NDArray[np.int32]
    masks: npt.NDArray[np.float32] | None = None
    keypoints: npt.NDArray[np.float32] | None = None

    @staticmethod
    def of(tensors: Tensors) -> RawDetections:
        """The entries of `tensors` that are fields, by their names on the wire."""
        names = [field.name for field in dataclasses.fields(RawDetections)]
        return RawDetections(**{name: tensors[name] for name in names if name in tensors})  # type: ignore[arg-type]


class OnnxPipeline:
    """The stages of an artifact folder by name, in the order in which they run."""

    def __init__(self, artifact: Path, threads: int = 0, library: Path | None = None, device: Device = "cpu") -> None:
        """Load them; see `OnnxModel`."""
        files = [artifact / f"{name}.onnx" for name in STAGES]
        self.stages = {file.stem: OnnxModel(file, threads, library, device) for file in files if file.is_file()}

    def detect(self, canvas: npt.NDArray[np.uint8], image_info: npt.NDArray[np.float32]) -> RawDetections:
        """Detections of a batch: canvas [B, H, W, 3] uint8, image_info [B, 6] float32."""
        tensors: Tensors = {"canvas": canvas, "image_info": image_info}
        for stage in self.stages.values():
            tensors |= stage.run(tensors)
        return RawDetections.of(tensors)
