"""The page of a comparison: one HTML file with its figures, and the images that differ most, side by side."""

from __future__ import annotations

from maskline_show.page import whole_page
from maskline_show.parts import picture, section, table, text
from maskline_show.thinned import draw_within
from PIL import Image

from maskline_client.compare.figures import Comparison, ImageResult
from maskline_client.compare.table import class_head, class_rows, rows
from maskline_client.detections import Detections
from maskline_client.images import decode_rgb, read_file

LARGEST_SIDE_PX = 1000  # of a picture on the page: labels stay readable, and a page of eight images below a few MB
AGREED = "<section><p>No image differs: both find the same objects, of the same classes and outlines.</p></section>"


def to_html(comparison: Comparison, shown: int) -> str:
    """The page as text; it refers to no other file and no network address.

    Args:
        comparison: what to show.
        shown: how many of the images that differ, worst first.
    """
    a, b = comparison.a, comparison.b
    differing = [_image(comparison, image) for image in comparison.worst(shown)]
    body = "\n".join(
        [
            f"<h1>maskline compare: {text(a.title)} and {text(b.title)}</h1>",
            *(f'<p class="soft">{text(side.title)}: {text(side.model.identity)}</p>' for side in (a, b)),
            section("What both find", table(("", a.title, b.title), rows(comparison))),
            section("By class", table(class_head(comparison), class_rows(comparison))),
            *(differing or [AGREED]),
        ]
    )
    return whole_page(f"maskline compare: {a.title} and {b.title}", body)


def _image(comparison: Comparison, image: ImageResult) -> str:
    """Both answers for one image, drawn as `detect` draws them."""
    pairs = image.pairs
    said = (
        f"{len(pairs.pairs)} objects on both sides, {len(pairs.flips)} as two classes, {len(pairs.only_a)} and "
        f"{len(pairs.only_b)} on one alone; likeness {pairs.likeness:.3f}"
    )
    pixels = decode_rgb(read_file(image.path))
    sides = (
        f'<section><p class="soft">{text(side.title)}</p>{_drawn(pixels, found, comparison.score_thresh)}</section>'
        for side, found in ((comparison.a, image.a), (comparison.b, image.b))
    )
    return (
        f'<section><h2>{text(image.path.name)}</h2><p class="soft">{text(said)}</p>'
        f'<div class="pair">{"".join(sides)}</div></section>'
    )


def _drawn(image: Image.Image, found: Detections, score_thresh: float) -> str:
    """The picture with what was found."""
    sure = found.filter(min_score=score_thresh)
    return picture(draw_within(image, sure, LARGEST_SIDE_PX), f"{len(sure)} objects")
