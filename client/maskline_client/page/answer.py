"""What the browser is told of one image: a COCO data set of what was found, and how to draw it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from maskline_show.picture import FILL, Colour, colour_of, ink_on, viewing_scale

from maskline_client.commands.detect import Answer, Report
from maskline_client.detections import Detections
from maskline_client.images import decode_rgb, is_turned
from maskline_client.served_model import ServedModel

JPEG_QUALITY = 95  # of a picture that the browser cannot show by itself: no difference to be seen


def to_browser(data: bytes, found: Detections, model: ServedModel, *, picture: bool) -> dict[str, Any]:
    """The answer for one image, as JSON may hold it.

    Args:
        data: the image file, which the server has taken.
        found: all objects, whatever their score.
        model: that is served.
        picture: whether the browser asks for the upright picture, which it gets of a turned file in any case.

    Returns:
        `coco`: a data set as in `detections.json` of `maskline-client detect`, of one image; `colours` and
        `keypoint_colours`: `fill` and `ink` of each category and keypoint; `fill_share`: of the colour inside a mask;
        `scale`: whole number to enlarge a drawn picture by; `picture`: JPEG as base64, or None.
    """
    file = Path("image")  # the browser knows the file's name
    return {
        "coco": Report([Answer(file, found)], []).to_coco(model, file.absolute().parent),
        "colours": [_inks(colour_of(label)) for label in range(len(model.classes))],
        "keypoint_colours": [_inks(colour_of(j)) for j in range(len(model.keypoint_names))],
        "fill_share": FILL,
        "scale": viewing_scale(found.image_size),
        "picture": _upright(data) if picture or is_turned(data) else None,
    }


def _inks(colour: Colour) -> dict[str, str]:
    """A colour and that of a text on it, as CSS has them."""
    return {"fill": f"rgb{colour}", "ink": f"rgb{ink_on(colour)}"}


def _upright(data: bytes) -> str:
    """The picture as the server sees it."""
    file = io.BytesIO()
    decode_rgb(data).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return base64.b64encode(file.getvalue()).decode("ascii")
