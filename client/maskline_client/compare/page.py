"""The page of a comparison: one HTML file with its figures, and the images that differ most, side by side."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence

from PIL import Image

from maskline_client.compare.figures import Comparison, ImageResult
from maskline_client.compare.table import class_rows, rows
from maskline_client.detections import Detections
from maskline_client.draw.picture import draw, viewing_scale
from maskline_client.images import decode_rgb, read_file
from maskline_client.pages.frame import whole_page

LARGEST_SIDE_PX = 1000  # of a picture on the page: labels stay readable, and a page of eight images below a few MB
JPEG_QUALITY = 85
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
            f"<h1>maskline compare: {_text(a.title)} and {_text(b.title)}</h1>",
            *(f'<p class="soft">{_text(side.title)}: {_text(side.model.identity)}</p>' for side in (a, b)),
            _table("What both find", ("", a.title, b.title), rows(comparison)),
            _table("By class", ("class", a.title, b.title, "both", "box IoU", "mask IoU"), class_rows(comparison)),
            *(differing or [AGREED]),
        ]
    )
    return whole_page(f"maskline compare: {a.title} and {b.title}", body)


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(title: str, head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A section with a table."""
    heading = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<section><h2>{_text(title)}</h2><table><tr>{heading}</tr>{body}</table></section>"


def _image(comparison: Comparison, image: ImageResult) -> str:
    """Both answers for one image, drawn as `detect` draws them."""
    pairs = image.pairs
    said = (
        f"{len(pairs.pairs)} objects on both sides, {len(pairs.flips)} as two classes, {len(pairs.only_a)} and "
        f"{len(pairs.only_b)} on one alone; likeness {pairs.likeness:.3f}"
    )
    picture = decode_rgb(read_file(image.path))
    sides = (
        f'<section><p class="soft">{_text(side.title)}</p>{_drawn(picture, found, comparison.score_thresh)}</section>'
        for side, found in ((comparison.a, image.a), (comparison.b, image.b))
    )
    return (
        f'<section><h2>{_text(image.path.name)}</h2><p class="soft">{_text(said)}</p>'
        f'<div class="pair">{"".join(sides)}</div></section>'
    )


def _drawn(picture: Image.Image, found: Detections, score_thresh: float) -> str:
    """The picture with what was found, as an <img> that holds its bytes."""
    sure = found.filter(min_score=score_thresh)
    drawn = draw(picture, sure, scale=viewing_scale(found.image_size))
    drawn.thumbnail((LARGEST_SIDE_PX, LARGEST_SIDE_PX))
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=JPEG_QUALITY)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="{len(sure)} objects" src="data:image/jpeg;base64,{data}">'
