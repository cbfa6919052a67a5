"""Real pictures with instance masks that packages ship, and that no recipe was made for.

`nuclei`: the fluorescence micrograph in stardist's wheel (stardist/data/images), by hand, cut into 16 pictures.
`coins`: scikit-image's coins, cut into 12 overlapping ones; their masks are a threshold's, so easy ones.

Letters: H W picture.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import skimage.data
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]
from skimage import filters, measure, segmentation

from maskline_bench.errors import BenchmarkError

Gray = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint16]

_IMAGE, _MASK = "stardist/data/images/img2d.tif", "stardist/data/images/mask2d.tif"
_LEAST_COIN_PX = 300  # smaller connected parts are dirt


def write_nuclei(wheel: Path, folder: Path) -> None:
    """Pictures of 128 x 128 px, by the layout that `maskline-train data convert masks` reads.

    Raises:
        BenchmarkError: not stardist's wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            image, labels = (np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in (_IMAGE, _MASK))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BenchmarkError(
            f"{wheel}: got no wheel with {_IMAGE} ({error}); `pip download --no-deps stardist` gives one"
        ) from error
    gray = np.floor(image * (255.0 / image.max()) + 0.5).astype(np.uint8)  # 16 bits of which it uses 8
    _write_crops(folder, gray, labels.astype(np.uint16), side=(128, 128), step=(128, 128))


def write_coins(folder: Path) -> None:
    """Pictures of 152 x 192 px."""
    gray: Gray = skimage.data.coins()
    bright = ndimage.binary_closing(gray > filters.threshold_otsu(gray), np.ones((3, 3)))
    labels = measure.label(ndimage.binary_fill_holes(segmentation.clear_border(bright)))
    for region in measure.regionprops(labels):
        if region.area < _LEAST_COIN_PX:
            labels[labels == region.label] = 0
    _write_crops(folder, gray, labels.astype(np.uint16), side=(152, 192), step=(75, 96))


def _write_crops(folder: Path, gray: Gray, labels: Labels, side: tuple[int, int], step: tuple[int, int]) -> None:
    """Write all whole crops of [H, W], `step` px apart."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for y in range(0, gray.shape[0] - side[0] + 1, step[0]):
        for x in range(0, gray.shape[1] - side[1] + 1, step[1]):
            part = slice(y, y + side[0]), slice(x, x + side[1])
            Image.fromarray(gray[part]).save(folder / "images" / f"{y}_{x}.png")
            Image.fromarray(labels[part]).save(folder / "masks" / f"{y}_{x}.png")
