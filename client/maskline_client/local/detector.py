"""`LocalDetector`: an artifact's answers in this process, as a server would give them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from maskline_serve.errors import ServeError
from maskline_serve.local.local_models import Device, LocalModels, RefusedError
from maskline_serve.repository.config import dtype

from maskline_client.calling.answer import parse_answer
from maskline_client.calling.known_model import answering, check_same
from maskline_client.contract import BATCH, MASKRCNN
from maskline_client.detections import Detections
from maskline_client.detector import ImageDetector
from maskline_client.errors import ClientError, InvalidModel, RefusedImage
from maskline_client.images import ImageSource, encode
from maskline_client.served_model import ServedModel, read_model

_EXTRAS = "`pip install 'maskline[local]'`, or 'maskline[gpu]' where there is one"


class LocalDetector(ImageDetector):
    """A Mask R-CNN in this process: the code, the sessions and the answers of a server, without one.

    Threads may share it: pictures are decoded and masks encoded side by side, and the network computes one image at a
    time, on all cores.

    Args:
        folder: what `maskline-export onnx` wrote, or a repository of the target `cpu`.
        device: "cpu", or "cuda" where `onnxruntime-gpu` is installed.

    Raises:
        InvalidModel: there is no such artifact or repository, it is damaged, or it cannot run here.

    Example:
        >>> with LocalDetector("out/artifact") as detector:  # doctest: +SKIP
        ...     print(detector.detect("photo.jpg"))
    """

    def __init__(self, folder: str | Path, *, device: Device = "cpu") -> None:
        if device not in ("cpu", "cuda"):
            raise ValueError(f"device: got {device!r}, expected cpu or cuda")
        try:
            self._models = LocalModels(Path(folder), device)
        except ImportError as missing:
            raise InvalidModel(f"a model in this process: {missing}; install what runs it: {_EXTRAS}") from missing
        except ServeError as error:
            raise InvalidModel(str(error)) from error
        self._folder = str(folder)
        self._model = read_model(
            _metadata(self._models.config),
            SimpleNamespace(config=self._models.config),
            MASKRCNN,
            self._models.config.name,
        )

    @property
    def model(self) -> ServedModel:
        """What answers: class names, masks or not, the names of keypoints."""
        return self._model

    def close(self) -> None:
        """Free the model; calls after that fail."""
        self._models.close()

    def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        model = self._model if masks else self._model.boxes_alone()
        check_same(model, answering(of, masks)[1], self._folder)
        data = encode(image)
        try:
            answer = self._models.infer(data, masks)
        except RefusedError as error:
            raise RefusedImage(str(error)) from error
        except ServeError as error:
            raise ClientError(f"{self._folder}: {error}") from error
        return parse_answer(answer.get, model)


def _metadata(config: Any) -> Any:
    """A ModelConfig as Triton's answer to the question for a model's tensors."""
    sides = {
        side: [
            SimpleNamespace(name=tensor.name, datatype=_datatype(tensor), shape=[BATCH, *tensor.dims])
            for tensor in tensors
        ]
        for side, tensors in (("inputs", config.input), ("outputs", config.output))
    }
    return SimpleNamespace(**sides)


def _datatype(tensor: Any) -> str:
    """As Triton's metadata writes it: as a config does, but that a STRING is BYTES."""
    name = dtype(tensor)
    return "BYTES" if name == "STRING" else name
