"""Masks kept as what lies inside their bounding boxes: an object of COCO fills a few per cent of its image.

A whole mask of 800 x 1088 pixels takes 0.9 MB, seven of an image and eight images a batch 49 MB; their crops take 3.

Letters: B images, G objects, H W an image, h w the window of an object, P all pixels of a batch's windows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskline_train.data.resizing import Size

Mask = npt.NDArray[np.uint8]  # [H, W], 0 or 1
Lines = npt.NDArray[np.int64]  # [n] rows or columns, ascending


class Crop(NamedTuple):
    """One mask.

    Attributes:
        x0: the window's first column, px of the image.
        y0: its first row.
        pixels: [h, w] uint8, 0 or 1, any strides. Each border of it has a 1, all else of the image is 0; an empty mask
            has 0 x 0.
    """

    x0: int
    y0: int
    pixels: Mask


NOTHING = Crop(0, 0, np.zeros((0, 0), np.uint8))


def tight(x0: int, y0: int, pixels: Mask) -> Crop:
    """The crop of a mask of which `pixels` is a part, at (x0, y0), that holds every 1."""
    if pixels.size and all(edge.any() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])):
        return Crop(x0, y0, pixels)
    rows = np.flatnonzero(pixels.max(axis=1, initial=0))
    columns = np.flatnonzero(pixels.max(axis=0, initial=0))
    if not len(rows):
        return NOTHING
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return Crop(x0 + int(left), y0 + int(top), pixels[top:bottom, left:right])


@dataclasses.dataclass(frozen=True)
class MaskCrops:
    """G masks of one size.

    Attributes:
        crops: one an object.
        size: (height, width) of the image.
    """

    crops: tuple[Crop, ...]
    size: Size

    def __len__(self) -> int:
        """G."""
        return len(self.crops)

    def __getitem__(self, index: int) -> Mask:
        """One whole mask, drawn anew."""
        crop = self.crops[index]
        whole = np.zeros(self.size, np.uint8)
        _paste(crop, whole)
        return whole

    def __iter__(self) -> Iterator[Mask]:
        """Whole masks, one after another."""
        return (self[index] for index in range(len(self)))

    def array(self) -> npt.NDArray[np.uint8]:
        """All of them whole, [G, H, W]."""
        masks = np.zeros((len(self), *self.size), np.uint8)
        for crop, out in zip(self.crops, masks, strict=True):
            _paste(crop, out)
        return masks

    def flipped(self) -> MaskCrops:
        """Left and right changed."""
        width = self.size[1]
        flipped = (Crop(width - crop.x0 - crop.pixels.shape[1], crop.y0, crop.pixels[:, ::-1]) for crop in self.crops)
        return MaskCrops(tuple(flipped), self.size)

    def chosen(self, kept: npt.NDArray[np.bool_]) -> MaskCrops:
        """Those of the objects that `kept` [G] names."""
        return MaskCrops(tuple(crop for crop, good in zip(self.crops, kept, strict=True) if good), self.size)

    def windows(self, canvas: Size) -> npt.NDArray[np.int32]:
        """Each window with a pixel more on every side, for those who read between pixels, but not beyond the canvas.

        Returns:
            [G, 4] int32: x0, y0, width, height; zeros for an empty mask.
        """
        found = np.array([(c.x0, c.y0, c.x0 + c.pixels.shape[1], c.y0 + c.pixels.shape[0]) for c in self.crops])
        edges = found.reshape(-1, 4).astype(np.int32)
        empty = edges[:, 0] == edges[:, 2]
        low = np.maximum(edges[:, :2] - 1, 0)
        high = np.minimum(edges[:, 2:] + 1, np.array([canvas[1], canvas[0]], np.int32))
        windows: npt.NDArray[np.int32] = np.concatenate([low, high - low], axis=1)
        windows[empty] = 0
        return windows


def resized(crops: Iterable[Crop], before: Size, after: Size) -> MaskCrops:
    """Masks of images of one size at another, by the nearest pixel centre: pixel for pixel Pillow's NEAREST.

    A crop is read from its own window alone. Ties between centres go as Pillow's sums of float64 fall.
    """
    rows, columns = (_sources(*lengths) for lengths in zip(before, after, strict=True))
    return MaskCrops(tuple(_resized(crop, rows, columns) for crop in crops), after)


class PackedMasks(NamedTuple):
    """The masks of a batch, one after another.

    Attributes:
        pixels: [P] uint8, each window's rows in turn, windows in the order of images and objects.
        starts: [B, G] int64, where a window begins in `pixels`.
        windows: [B, G, 4] int32, `MaskCrops.windows`; zeros where an image has fewer objects than G.
    """

    pixels: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    windows: npt.NDArray[np.int32]


def pack(batch: Sequence[MaskCrops], canvas: Size) -> PackedMasks:
    """The masks of B images that lie at the top left of a canvas, (height, width)."""
    windows = np.zeros((len(batch), max(map(len, batch), default=0), 4), np.int32)
    for row, masks in zip(windows, batch, strict=True):
        row[: len(masks)] = masks.windows(canvas)
    areas = windows[..., 2].astype(np.int64) * windows[..., 3]
    starts = (np.cumsum(areas) - areas.ravel()).reshape(areas.shape)
    pixels = np.zeros(int(areas.sum()), np.uint8)
    for image, masks in enumerate(batch):
        places = zip(starts[image].tolist(), windows[image].tolist(), strict=True)
        for crop, (start, (x0, y0, width, height)) in zip(masks.crops, places, strict=False):
            window = pixels[start : start + width * height].reshape(height, width)
            _paste(crop._replace(x0=crop.x0 - x0, y0=crop.y0 - y0), window)
    return PackedMasks(pixels, starts, windows)


def _paste(crop: Crop, out: Mask) -> None:
    height, width = crop.pixels.shape
    out[crop.y0 : crop.y0 + height, crop.x0 : crop.x0 + width] = crop.pixels


def _sources(before: int, after: int) -> Lines:
    """The line that each of `after` lines is taken from; `before` where Pillow takes none. Pillow itself is asked."""
    numbers = Image.fromarray(np.arange(1, before + 1, dtype=np.int32)[None])
    found = np.asarray(numbers.resize((after, 1), Image.Resampling.NEAREST))[0].astype(np.int64)
    return np.where(found == 0, before, found - 1)


def _resized(crop: Crop, rows: Lines, columns: Lines) -> Crop:
    height, width = crop.pixels.shape
    top, bottom = np.searchsorted(rows, (crop.y0, crop.y0 + height)).tolist()
    left, right = np.searchsorted(columns, (crop.x0, crop.x0 + width)).tolist()
    # Whole lines are copied, never single pixels: columns of the turned window, then rows.
    narrow = crop.pixels.T.take(columns[left:right] - crop.x0, axis=0)
    return tight(left, top, narrow.T.take(rows[top:bottom] - crop.y0, axis=0))
