"""How an image file becomes the network's canvas: scales, canvas sizes, normalisation."""

from __future__ import annotations

import dataclasses
from typing import Literal

from maskline_train.spec.from_json import check

CANVAS_MULTIPLE = 32  # the deepest stride of the body: every level then is exactly half of the one before


@dataclasses.dataclass(frozen=True)
class PreprocessingSpec:
    """How an image file becomes the network's canvas.

    The shorter side is resized to `shorter_side_px` unless the longer one would exceed `longer_side_px`
    (paper, section 3.1: "resized such that their scale (shorter edge) is 800 pixels"); the result is padded at
    the right and bottom with zeros to a canvas. Normalisation happens inside the network: `(pixel - mean) / std` per
    RGB channel, in 0..255 units.

    The canvas is either the smallest of `canvases` that holds the image, which a server can batch and an engine can be
    built for, or, with `canvas_multiple`, the image's own size with each side rounded up to a multiple of that number,
    as detectron2 and torchvision pad: 32 for a pyramid, 1 for no padding at all (detectron2's C4 models).

    A network answers best on pictures that were resized as those it was trained on. `resize_filter` is `pillow`
    (bilinear, antialiased: detectron2, maskrcnn-benchmark), `cv2` (OpenCV's INTER_LINEAR on uint8, not antialiased:
    mmdetection) or `torch` (PyTorch's bilinear on floats, not antialiased, here rounded to uint8: torchvision).
    `size_rule` says how the sides become whole numbers: `round` (mmdetection), `floor` (torchvision), `detectron2`,
    `maskrcnn_benchmark` or `detectron`.
    """

    shorter_side_px: int = 800
    longer_side_px: int = 1333
    canvases: tuple[tuple[int, int], ...] = ((800, 1344), (1344, 800), (1344, 1344))  # (height, width)
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)  # ImageNet means used by torchvision, times 255
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    canvas_multiple: int | None = None  # in place of `canvases`, which is then empty
    resize_filter: Literal["pillow", "cv2", "torch"] = "pillow"
    size_rule: Literal["round", "floor", "detectron2", "maskrcnn_benchmark", "detectron"] = "round"

    def __post_init__(self) -> None:
        check(self.shorter_side_px > 0, "preprocessing.shorter_side_px", self.shorter_side_px, "at least 1")
        check(
            self.shorter_side_px <= self.longer_side_px,
            "preprocessing.longer_side_px",
            self.longer_side_px,
            f"at least shorter_side_px ({self.shorter_side_px})",
        )
        self._check_canvases()
        check(min(self.std) > 0, "preprocessing.std", self.std, "numbers above 0")

    @property
    def side_multiple(self) -> int:
        """What every side of every canvas is a multiple of."""
        return CANVAS_MULTIPLE if self.canvas_multiple is None else self.canvas_multiple

    def _check_canvases(self) -> None:
        """Raise ValueError unless there is either a list of canvases or a multiple, and it can be used."""
        multiple = self.canvas_multiple
        if multiple is not None:
            check(multiple > 0, "preprocessing.canvas_multiple", multiple, "at least 1, or null for a list of canvases")
            none = f"an empty list beside canvas_multiple {multiple}, since one of the two decides"
            check(not self.canvases, "preprocessing.canvases", self.canvases, none)
            return
        wanted = "at least one (height, width), or a canvas_multiple"
        check(len(self.canvases) > 0, "preprocessing.canvases", self.canvases, wanted)
        for canvas in self.canvases:
            good = all(side > 0 and side % CANVAS_MULTIPLE == 0 for side in canvas)
            check(good, "preprocessing.canvases", canvas, f"sides that are multiples of {CANVAS_MULTIPLE}")
