"""From decoded pixels to the network's canvas: resized, padded, one canvas a batch.

The reference for training, verification and the server: `docs/architecture.md`, section Preprocessing, steps 2 to 4.
Sizes are (height, width), pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskline_train.data.images import Pixels
from maskline_train.data.resizing import Size, resize_as_cv2, resize_as_torch, scaled_size
from maskline_train.spec import PreprocessingSpec


def resize_geometry(size: Size, spec: PreprocessingSpec) -> Size:
    """The size an image of `size` is resized to for the network, (height, width), at least 1 x 1.

    When no canvas of a list holds the result, each side is cut to that of the largest canvas (by area; ties: the
    last). A canvas of the image's own size (`canvas_multiple`) cuts nothing.
    """
    resized = scaled_size(size, spec.shorter_side_px, spec.longer_side_px, spec.size_rule)
    if spec.canvas_multiple is not None or any(_holds(canvas, resized) for canvas in spec.canvases):
        return resized
    largest = sorted(spec.canvases, key=_area)[-1]
    return min(resized[0], largest[0]), min(resized[1], largest[1])


def choose_canvas(resized: Sequence[Size], spec: PreprocessingSpec) -> Size:
    """The canvas shared by images of these resized sizes.

    With `canvas_multiple`: the largest height and the largest width, each rounded up, as detectron2's ImageList. Of a
    list: the smallest canvas by area that holds all images; ties keep the order of `spec.canvases`; when no single one
    holds all: the element-wise maximum of the canvas of each.

    Raises:
        ValueError: no image, or an image that no canvas of the list holds (`resize_geometry` never makes one).
    """
    if not resized:
        raise ValueError("choose_canvas: got no image, expected at least one")
    if spec.canvas_multiple is not None:
        return rounded_up(resized, spec.canvas_multiple)
    ordered = sorted(spec.canvases, key=_area)  # stable: ties as listed
    shared = next((canvas for canvas in ordered if all(_holds(canvas, size) for size in resized)), None)
    if shared is not None:
        return shared
    own: list[Size] = []
    for size in resized:
        fitting = [canvas for canvas in ordered if _holds(canvas, size)]
        if not fitting:
            raise ValueError(f"choose_canvas: got {size}, expected at most {ordered[-1]}; use resize_geometry")
        own.append(fitting[0])
    return max(height for height, _ in own), max(width for _, width in own)


def rounded_up(sizes: Sequence[Size], multiple: int) -> Size:
    """The smallest canvas with sides that are multiples of `multiple` that holds images of all these sizes."""
    height, width = (-(-max(sides) // multiple) * multiple for sides in zip(*sizes, strict=True))
    return height, width


def resize_image(image: Pixels, size: Size, spec: PreprocessingSpec) -> Pixels:
    """[H, W, 3] uint8 at `size`, by the filter of the spec; the same array if nothing changes."""
    if image.shape[:2] == size:
        return image
    if spec.resize_filter == "cv2":
        return resize_as_cv2(image, size)
    if spec.resize_filter == "torch":
        return resize_as_torch(image, size)
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def image_info(resized: Size, original: Size) -> npt.NDArray[np.float32]:
    """[6] float32: resized_h, resized_w, scale_y, scale_x, original_h, original_w; scale: resized / original."""
    scales = (resized[0] / original[0], resized[1] / original[1])
    return np.array([*resized, *scales, *original], np.float32)


def pad_image(image: Pixels, canvas: Size) -> Pixels:
    """[H, W, 3] uint8 of size `canvas`: the image at the top left, zeros elsewhere."""
    out = np.zeros((*canvas, 3), np.uint8)
    out[: image.shape[0], : image.shape[1]] = image
    return out


def preprocess(image: Pixels, spec: PreprocessingSpec) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """One decoded image to (`canvas` uint8 [H, W, 3], `image_info` float32 [6])."""
    canvases, infos = preprocess_batch([image], spec)
    return canvases[0], infos[0]


def preprocess_batch(images: Sequence[Pixels], spec: PreprocessingSpec) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """Decoded images to (`canvas` uint8 [B, H, W, 3], `image_info` float32 [B, 6]), on one shared canvas."""
    originals: list[Size] = [(image.shape[0], image.shape[1]) for image in images]
    sizes = [resize_geometry(original, spec) for original in originals]
    canvas = choose_canvas(sizes, spec)
    pixels = [pad_image(resize_image(image, size, spec), canvas) for image, size in zip(images, sizes, strict=True)]
    infos = [image_info(size, original) for size, original in zip(sizes, originals, strict=True)]
    return np.stack(pixels), np.stack(infos)


def _holds(canvas: Size, size: Size) -> bool:
    return canvas[0] >= size[0] and canvas[1] >= size[1]


def _area(canvas: Size) -> int:
    return canvas[0] * canvas[1]
