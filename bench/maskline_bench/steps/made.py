"""The two models that are measured where none is named: one on a large canvas, one on a small one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_serve.repository.assemble import assemble
from maskline_train.data.made.digits import make_digits

from maskline_bench.both_models import FULL, make_peer, make_pictures, write_checkpoint

# The demo's base network, which a checkout has: ResNet-18 of half the width on canvases up to 256x256.
DIGITS = Path(__file__).parents[3] / "demo" / "base"
IMAGES = 5


def make_full(folder: Path) -> None:
    """ResNet-50-FPN with made weights on 800x1344, as `make bench-serve` has it, and its pictures."""
    pictures = make_pictures(FULL)
    _write(write_checkpoint(make_peer(FULL, pictures), FULL, folder), folder)
    (folder / "images").mkdir()
    for index, picture in enumerate(pictures):
        (folder / "images" / f"{index}.jpg").write_bytes(picture.file)


def make_digits_model(folder: Path) -> None:
    """The demo's base network for digits on 256x256, trained, and some images of digits that it never saw."""
    _write(DIGITS, folder)
    make_digits(folder / "data", train_images=1, val_images=IMAGES)
    (folder / "data" / "val").rename(folder / "images")


def _write(checkpoint: Path, folder: Path) -> None:
    """Export and assemble, by the calls behind the commands."""
    export_checkpoint(checkpoint, folder / "artifact")
    assemble(folder / "artifact", folder / "repository")


# Name -> what writes `repository` and `images` into a folder, and rounds: a tenth of a second or some seconds each.
MODELS: dict[str, tuple[Callable[[Path], None], int]] = {
    "ResNet-50-FPN, 800x1344": (make_full, 15),
    "digits, 256x256": (make_digits_model, 300),
}
