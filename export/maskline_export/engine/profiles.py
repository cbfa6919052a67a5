"""Optimisation profiles: for which batch sizes and canvases an engine is built.

One profile a canvas: a plan then holds kernels chosen for exactly the shapes that are served, and Triton picks the
profile that fits a batch. `MIN:OPT:MAX` are batch sizes; the kernels are fastest at OPT.

Letters: B images, H W canvas.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from maskline_train.spec import CANVAS_MULTIPLE, PreprocessingSpec

from maskline_export.errors import EngineBuildError
from maskline_export.manifest import TensorInfo
from maskline_export.onnx_stages.stage_io import sizes

DEFAULT = "1:4:8"  # Triton is told to batch up to 8 images
_TEXT = re.compile(r"(\d+):(\d+):(\d+)(?:@(\d+)x(\d+))?")

Canvas = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Profile:
    """Batch sizes (smallest, usual, largest) of one canvas (height, width)."""

    batches: tuple[int, int, int]
    canvas: Canvas

    def __str__(self) -> str:
        return f"{':'.join(map(str, self.batches))}@{self.canvas[0]}x{self.canvas[1]}"

    def shapes(self, tensor: TensorInfo) -> list[tuple[int, ...]]:
        """The smallest, usual and largest shape of an input of a stage."""
        found = []
        for batch in self.batches:
            known = sizes(batch, *self.canvas)
            found.append(tuple(known[side] if isinstance(side, str) else side for side in tensor.shape))
        return found


def profiles(texts: Sequence[str], preprocessing: PreprocessingSpec) -> tuple[Profile, ...]:
    """The profiles that `--profile` asks for.

    Args:
        texts: each `MIN:OPT:MAX`, for every canvas of the model, or `MIN:OPT:MAX@HxW` for one; empty: the default.
        preprocessing: of the model.

    Returns:
        One profile a canvas, in the order asked for; a canvas named twice keeps the last.

    Raises:
        EngineBuildError: another form, batches that do not rise, a canvas that is no multiple of 32, or a model whose
            canvases are not a list.
    """
    _check_listed(preprocessing)
    found: dict[Canvas, Profile] = {}
    for text in texts or (DEFAULT,):
        match = _TEXT.fullmatch(text)
        if match is None:
            raise EngineBuildError(
                f"--profile: got {text!r}, expected MIN:OPT:MAX batches, such as 1:4:8 or 1:4:8@800x1344"
            )
        low, usual, high = (int(number) for number in match.groups()[:3])
        if not 1 <= low <= usual <= high:
            raise EngineBuildError(
                f"--profile {text}: got batches {low}, {usual}, {high}, expected 1 <= MIN <= OPT <= MAX"
            )
        chosen = [(int(match[4]), int(match[5]))] if match[4] else request_canvases(preprocessing)
        for canvas in chosen:
            if min(canvas) < CANVAS_MULTIPLE or any(side % CANVAS_MULTIPLE for side in canvas):
                raise EngineBuildError(
                    f"--profile {text}: got canvas {canvas}, expected multiples of {CANVAS_MULTIPLE}"
                )
            found[canvas] = Profile((low, usual, high), canvas)
    return tuple(found.values())


def _check_listed(preprocessing: PreprocessingSpec) -> None:
    """Raise EngineBuildError where each image has a canvas of its own size: an engine is built for known shapes."""
    if preprocessing.canvas_multiple is None:
        return
    sides = preprocessing.shorter_side_px, preprocessing.longer_side_px
    low, high = (CANVAS_MULTIPLE * -(-side // CANVAS_MULTIPLE) for side in sides)
    usual = [list(canvas) for canvas in dict.fromkeys([(low, high), (high, low), (high, high)])]
    raise EngineBuildError(
        f"preprocessing.canvas_multiple: got {preprocessing.canvas_multiple}, a canvas of its own for each image, "
        "expected a list of canvases, which engines are built for; in the checkpoint's model.json set canvas_multiple "
        f"to null and canvases to {usual}, and export again (boxes will differ a little)"
    )


def request_canvases(preprocessing: PreprocessingSpec) -> list[Canvas]:
    """Every canvas that a request can get: those of the model, and what images of several canvases share.

    They share a canvas of the model that holds them all, or else the element-wise maximum (docs/architecture.md,
    Preprocessing, step 3).
    """
    joints = list(dict.fromkeys(preprocessing.canvases))
    for first in joints:  # grows while it is walked; bounded by the products of distinct heights and widths
        for second in list(joints):
            joint = (max(first[0], second[0]), max(first[1], second[1]))
            if joint not in joints:
                joints.append(joint)

    def held(canvas: Canvas) -> bool:
        return any(height >= canvas[0] and width >= canvas[1] for height, width in preprocessing.canvases)

    return [canvas for canvas in joints if canvas in preprocessing.canvases or not held(canvas)]
