"""Changes of a training sample that keep its picture, boxes, masks and keypoints together.

G objects, J keypoints. Boxes (xyxy) and keypoints are float32 in continuous pixels of the sample's image; sizes are
(height, width).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from maskline_host.library import HostLibraryError
from maskline_host.resize import resize as resize_by_library
from PIL import Image, ImageEnhance

from maskline_train.data.canvas import resize_image
from maskline_train.data.images import Pixels
from maskline_train.data.masks.crops import MaskCrops, resized
from maskline_train.data.masks.rle_masks import RleMasks
from maskline_train.data.resizing import Size, scaled_size
from maskline_train.spec import PreprocessingSpec


@dataclasses.dataclass(frozen=True)
class Sample:
    """One image with its objects."""

    image: Pixels  # [H, W, 3] uint8 RGB
    boxes: npt.NDArray[np.float32]  # [G, 4] xyxy px
    labels: npt.NDArray[np.int64]  # [G]
    masks: RleMasks | MaskCrops  # G of the image's size; as run lengths until they have the network's
    keypoints: npt.NDArray[np.float32] | None = None  # [G, J, 3] x, y px and visibility

    def crops(self) -> MaskCrops:
        """The masks as what lies in their bounding boxes: drawn now, unless they are that already."""
        if isinstance(self.masks, MaskCrops):
            return self.masks
        return MaskCrops(tuple(self.masks.crops), self.masks.size)

    def chosen(self, kept: npt.NDArray[np.bool_]) -> Sample:
        """Those of the objects that `kept` [G] names."""
        keypoints = None if self.keypoints is None else self.keypoints[kept]
        return Sample(self.image, self.boxes[kept], self.labels[kept], self.crops().chosen(kept), keypoints)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What is drawn at random for each training sample. The defaults are the usual baseline: flips only.

    Ref: paper, appendix, train-time augmentation: "we randomly sample a scale from [640, 800] pixels".
    """

    flip_probability: float = 0.5
    shorter_side_px: tuple[int, int] | None = None  # drawn from [low, high]; None: as the spec says
    colour_strength: float = 0.0  # brightness, contrast and saturation by factors in [1 - s, 1 + s]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not 0 <= self.flip_probability <= 1 or not 0 <= self.colour_strength < 1:
            raise ValueError(
                f"Augmentation: got flip_probability {self.flip_probability} and colour_strength "
                f"{self.colour_strength}, expected [0, 1] and [0, 1)"
            )
        if self.shorter_side_px is not None and not 1 <= self.shorter_side_px[0] <= self.shorter_side_px[1]:
            raise ValueError(f"Augmentation: got shorter_side_px {self.shorter_side_px}, expected 1 <= low <= high")


def augment(
    sample: Sample,
    augmentation: Augmentation,
    spec: PreprocessingSpec,
    rng: np.random.Generator,
    flip_order: Sequence[int] = (),
) -> Sample:
    """Scale to network size with the drawn jitter, flip and recolour.

    The number of draws from `rng` depends on `augmentation` alone, never on the sample. `flip_order`: see
    `flip_horizontal`.
    """
    low, high = augmentation.shorter_side_px or (spec.shorter_side_px, spec.shorter_side_px)
    shorter_side_px = int(rng.integers(low, high + 1))
    size = sample.image.shape[0], sample.image.shape[1]
    sample = resize(sample, scaled_size(size, shorter_side_px, spec.longer_side_px, spec.size_rule), spec)
    if rng.random() < augmentation.flip_probability:
        sample = flip_horizontal(sample, flip_order)
    sample = _with_areas(sample)
    if augmentation.colour_strength > 0:
        factors = rng.uniform(1 - augmentation.colour_strength, 1 + augmentation.colour_strength, 3)
        sample = dataclasses.replace(sample, image=recolour(sample.image, *map(float, factors)))
    return sample


def _with_areas(sample: Sample) -> Sample:
    """The objects whose boxes are still open: float32 can close a thin one at another place or size."""
    kept = (sample.boxes[:, 2:] > sample.boxes[:, :2]).all(axis=1)
    return sample if kept.all() else sample.chosen(kept)


def flip_horizontal(sample: Sample, flip_order: Sequence[int] = ()) -> Sample:
    """Mirror left and right: x becomes width - x, so x0 and x1 change places.

    Keypoint j becomes keypoint `flip_order[j]`: the mirror image of a left hand is a right hand. J numbers where the
    sample has keypoints (`KeypointHeadSpec.flip_order`).
    """
    width = sample.image.shape[1]
    keypoints = None
    if sample.keypoints is not None:
        keypoints = sample.keypoints[:, list(flip_order)]
        labelled = keypoints[..., 2] > 0
        keypoints[..., 0] = np.where(labelled, width - keypoints[..., 0], keypoints[..., 0])
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]
    return Sample(_mirrored(sample.image), boxes, sample.labels, sample.crops().flipped(), keypoints)


def _mirrored(image: Pixels) -> Pixels:
    """Left and right changed. By PyTorch: numpy copies three bytes at a time and takes 25 times as long."""
    writable = image if image.flags.writeable else image.copy()  # PyTorch takes no other
    return torch.from_numpy(writable).flip(1).numpy()


def resize(sample: Sample, size: Size, spec: PreprocessingSpec) -> Sample:
    """Resize to `size`; objects of which no mask pixel is left are dropped.

    The image by the filter of the spec, masks by the nearest pixel centre, boxes and keypoints by the
    exact factors.
    """
    before = sample.image.shape[0], sample.image.shape[1]
    masks = resized(sample.masks.crops, before, size)
    scale = np.array([size[1] / before[1], size[0] / before[0]] * 2)
    boxes = (sample.boxes * scale).astype(np.float32)
    kept = np.array([crop.pixels.size > 0 for crop in masks.crops], bool)
    keypoints = None
    if sample.keypoints is not None:
        keypoints = (sample.keypoints * np.array([*scale[:2], 1.0])).astype(np.float32)
    image = _resized_picture(sample.image, size, spec)
    return Sample(image, boxes, sample.labels, masks, keypoints).chosen(kept)


def _resized_picture(image: Pixels, size: Size, spec: PreprocessingSpec) -> Pixels:
    """The bytes of `resize_image`, in less than half of the time where libmaskline_host.so is there.

    The library leaves to Pillow what becomes lower: Pillow does the columns of some such pictures first.
    """
    left_to_pillow = spec.resize_filter == "pillow" and size[0] < image.shape[0]
    if image.shape[:2] == size or left_to_pillow or not _library_resizes():
        return resize_image(image, size, spec)
    return resize_by_library(image, size, spec.resize_filter, threads=1)  # the loader has a process a core


@functools.cache
def _library_resizes() -> bool:
    """Whether the library is there, and of a build that knows Pillow's filter."""
    try:
        resize_by_library(np.zeros((1, 1, 3), np.uint8), (1, 1), "pillow", threads=1)
    except HostLibraryError:
        return False
    return True


def recolour(image: Pixels, brightness: float, contrast: float, saturation: float) -> Pixels:
    """[H, W, 3] uint8 with the three properties multiplied; 1.0 leaves one as it is."""
    picture = Image.fromarray(image)
    picture = ImageEnhance.Brightness(picture).enhance(brightness)
    picture = ImageEnhance.Contrast(picture).enhance(contrast)
    return np.array(ImageEnhance.Color(picture).enhance(saturation))
