"""How far pictures that are decoded and resized on a device lie from those of the host, in values of 8 bits.

Run: python -m maskline_bench.decode_difference --device cuda, or cpu: the same libraries without a GPU
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import skimage.data
import typer
from maskline_train.spec import PreprocessingSpec
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.model_files import load
from maskline_bench.owed.task import Device, head
from maskline_bench.result_file import write_json

FILTERS = ("pillow", "torch", "cv2")
_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")
_LARGER = 4  # times the photographs' sides: made smaller on the canvas, as a camera's are
_CARD = 0
_TURNED = Image.Exif()
_TURNED[0x0112] = 6  # EXIF's orientation: a quarter clockwise
# Name -> how the file is written.
_KINDS: dict[str, dict[str, Any]] = {
    "4:2:0": {"subsampling": "4:2:0"},
    "4:2:2": {"subsampling": "4:2:2"},
    "4:4:4": {"subsampling": "4:4:4"},
    "4:2:0, progressive": {"subsampling": "4:2:0", "progressive": True},
    "4:2:0, turned": {"subsampling": "4:2:0", "exif": _TURNED},
    "gray": {},
}


def measure(device: Device) -> list[dict[str, Any]]:
    """A row a kind of file: the pictures as decoded, and on the canvas by each filter; each `_difference` of all files.

    Raises:
        BenchmarkError: a file was not decoded on the device.
    """
    names = ("images", "filters", "device_decoder", "device_canvas")
    images, filters, device_decoder, device_canvas = (load("preprocess", name) for name in names)
    card = _CARD if device == "cuda" else device_decoder.HOST
    decoder = device_decoder.DeviceDecoder(card, 2)
    canvases = {name: device_canvas.DeviceCanvas(name, card) for name in FILTERS}
    spec = PreprocessingSpec()
    geometry = images.Geometry(spec.shorter_side_px, spec.longer_side_px, spec.canvases)
    limits = images.Limits(32 << 20, 50_000_000, 20_000)
    rows = []
    for kind, written in _KINDS.items():
        files = [_file(name, scale, kind, written) for name in _PHOTOGRAPHS for scale in (1, _LARGER)]
        found = decoder.decode(files, [images.opened(file, limits) for file in files])
        if None in found:
            raise BenchmarkError(
                f"{kind}: got {found.count(None)} of {len(files)} files that nvImageCodec does not take"
            )
        hosts = [np.asarray(images.load_rgb(file, limits)) for file in files]
        row = {"decoded": _difference([np.asarray(each.cpu()).transpose(1, 2, 0) for each in found], hosts)}
        for name, canvas in canvases.items():
            resize, _ = filters.choose(name)
            pairs = []
            for file, picture in zip(files, found, strict=True):
                pixels, _ = images.prepare(file, geometry, limits, resize)
                size = pixels.shape[:2]
                ours = canvas.compose([picture], [size], geometry.shared_canvas([size])).numpy()
                pairs.append((ours[0, : size[0], : size[1]], pixels))
            row[name] = _difference(*map(list, zip(*pairs, strict=True)))
        rows.append({"file": kind, **row})
    return rows


def _file(name: str, scale: int, kind: str, written: dict[str, Any]) -> bytes:
    """A photograph as a JPEG of quality 90."""
    picture = Image.fromarray(getattr(skimage.data, name)())
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    (picture.convert("L") if kind == "gray" else picture).save(file, "JPEG", quality=90, **written)
    return file.getvalue()


def _difference(ours: list[NDArray[np.uint8]], theirs: list[NDArray[np.uint8]]) -> dict[str, float]:
    """Largest and mean difference of all bytes, and the share of equal ones."""
    off = np.concatenate([
        np.abs(a.astype(np.int16) - b).ravel() for a, b in zip(ours, theirs, strict=True)
    ])  # fmt: skip
    return {"max": int(off.max()), "mean": float(off.mean()), "equal": float((off == 0).mean())}


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """The table."""
    table = Table(title="Device less host: largest, mean, share of equal bytes", title_justify="left")
    for heading in ("file", "decoded", *(f"on its canvas, {name}" for name in FILTERS)):
        table.add_column(heading)
    for row in rows:
        table.add_row(row["file"], *(figures(row[name]) for name in ("decoded", *FILTERS)))
    console.print(table)


def figures(found: dict[str, float]) -> str:
    """In words: `2, 0.014, 98.6 %`."""
    return f"{found['max']}, {found['mean']:.3f}, {found['equal']:.1%}"


def main(
    device: Annotated[Device, typer.Option(help="Where they are decoded and resized.")] = "cpu",
    json_file: Annotated[Path | None, typer.Option("--json", help="A file to write too.")] = None,
) -> None:
    """Measure how far pictures that are decoded and resized on a device lie from the host's.

    Example: python -m maskline_bench.decode_difference --device cuda
    """
    with in_one_line("decode_difference"):
        first = head(device)
        rows = measure(device)
        show(rows, Console(width=None if sys.stdout.isatty() else 160))
        if json_file is not None:
            write_json(json_file, {**first, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
