"""One timed call of an ensemble of engines, such as `maskrcnn_engines`: canvas in hand to numpy arrays in hand.

Letters: H W canvas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from maskline_client import contract
from maskline_client.bench.calls import Caller, connect, make_request
from maskline_client.bench.canvas.regions import open_region
from maskline_client.bench.images import BenchImage
from maskline_client.bench.settings import Memory
from maskline_client.bench.statistics import steps_of

_PREPROCESS = "preprocess"  # the server's own step makes the canvases: no other code has to agree with it


@dataclasses.dataclass(frozen=True)
class Canvas:
    """What the engines take.

    Attributes:
        pixels: [1, H, W, 3] uint8.
        info: [1, 6] float32, resized and original sizes.
    """

    pixels: npt.NDArray[np.uint8]
    info: npt.NDArray[np.float32]


def make_canvases(url: str, ensemble: str, images: Sequence[BenchImage], timeout_s: float) -> dict[str, Canvas]:
    """Each image's canvas by its name, as the server prepares it for a model, one of whose ensembles is named.

    Raises:
        InferenceServerException: the server refuses an image, or is not there.
    """
    client = connect(url, timeout_s)
    try:
        steps = steps_of(client, ensemble.removesuffix(contract.ENGINES_KIND))
        preprocess = next((name for name in steps if contract.word_of(name) == _PREPROCESS), _PREPROCESS)
        found = {}
        for image in images:
            result = client.infer(preprocess, make_request(image), client_timeout=timeout_s)
            found[image.name] = Canvas(*(result.as_numpy(t.name) for t in (contract.CANVAS, contract.IMAGE_INFO)))
        return found
    finally:
        client.close()


class CanvasCaller(Caller):
    """A `Caller` that sends an image's canvas, by a message or through memory that it shares with the server.

    Writing the canvas into shared memory is inside the time, as a client has to do it.
    """

    def __init__(
        self, url: str, ensemble: str, timeout_s: float, canvases: Mapping[str, Canvas], memory: Memory
    ) -> None:
        super().__init__(url, ensemble, timeout_s)
        self._canvases = canvases
        largest = max(canvas.pixels.nbytes for canvas in canvases.values())
        try:
            self._region = open_region(memory, self._client, largest)
        except BaseException:
            self._client.close()
            raise

    def _request(self, image: BenchImage) -> list[Any]:
        canvas = self._canvases[image.name]
        pixels = triton.InferInput(contract.CANVAS.name, list(canvas.pixels.shape), contract.CANVAS.dtype)
        if self._region is None:
            pixels.set_data_from_numpy(canvas.pixels)
        else:
            self._region.write(canvas.pixels)
            pixels.set_shared_memory(self._region.name, canvas.pixels.nbytes)
        info = triton.InferInput(contract.IMAGE_INFO.name, list(canvas.info.shape), contract.IMAGE_INFO.dtype)
        info.set_data_from_numpy(canvas.info)
        return [pixels, info]

    def close(self) -> None:
        """Give the shared memory back and close the connection."""
        if self._region is not None:
            self._region.close()
        super().close()
