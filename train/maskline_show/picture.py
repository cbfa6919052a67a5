"""A picture of objects: translucent masks, boxes, keypoints, labels that stay inside the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from maskline_show.coco_person import lines_between
from maskline_show.drawable import Drawable
from maskline_show.keypoints import draw_keypoints
from maskline_show.labels import LabelStyle, place_label

Colour = tuple[int, int, int]
ColourBy = Literal["class", "instance"]

# Far apart in hue, then in lightness, and bright enough to show on a photograph.
PALETTE: tuple[Colour, ...] = (
    (255, 62, 94),
    (48, 176, 255),
    (255, 204, 51),
    (58, 214, 122),
    (176, 110, 255),
    (255, 140, 46),
    (26, 214, 200),
    (255, 112, 214),
    (166, 226, 46),
    (96, 125, 255),
    (255, 170, 150),
    (0, 150, 136),
    (205, 220, 120),
    (190, 80, 160),
    (130, 200, 255),
    (170, 120, 70),
)
FILL = 0.42  # share of the colour inside a mask: the object stays recognisable
_KEYPOINT_SHARE = 60  # a line is that part of its object's side: the dots of a small person do not run together
_SHADE = 0.55  # share of black in the dark line around a contour, which parts it from a background of like colour


def colour_of(index: int) -> Colour:
    """A stable colour for a class or an instance number; the first 16 are chosen, later ones step by golden angle."""
    if index < len(PALETTE):
        return PALETTE[index]
    hue = index * 0.618_033_988_75 % 1.0
    value = (1.0, 0.82, 0.92)[index % 3]
    wheel = (np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1) * 0.75 + 0.25) * value
    red, green, blue = (int(255 * part) for part in wheel)
    return red, green, blue


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever a text on that colour is read better in."""
    return (0, 0, 0) if _luminance(colour) > 0.32 else (255, 255, 255)


def viewing_scale(size: tuple[int, int]) -> int:
    """By how much to enlarge a picture of (height, width), so that labels fit.

    Its shorter side gets 480 px or more, as far as the longer one stays below 2000 px; one of 1000 px stays as it is.
    """
    return max(1, min(math.ceil(480 / min(size)), 1999 // max(size)))


def draw(image: Image.Image, detections: Drawable, *, colour_by: ColourBy = "class", scale: int = 1) -> Image.Image:
    """Draw the objects on a copy of their image.

    Args:
        image: the upright picture, of the size `detections.image_size`.
        detections: what was found in it, or is known to be there; none gives the picture as it is.
        colour_by: "class" gives all objects of a class one colour, "instance" each object its own.
        scale: whole number to enlarge a small picture by before anything is drawn; see `viewing_scale`.

    Returns:
        An RGB picture of `scale` times the size.

    Raises:
        ValueError: the picture has another size than the one the objects were found in.
    """
    height, width = detections.image_size
    if image.size != (width, height):
        raise ValueError(
            f"picture: got {image.height}x{image.width}, expected {height}x{width}, the size the objects were found "
            "in; turn it upright with ImageOps.exif_transpose"
        )
    canvas = image.convert("RGB").resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    boxes = detections.boxes * scale
    colours = [colour_of(i if colour_by == "instance" else int(label)) for i, label in enumerate(detections.labels)]
    largest_first = sorted(range(len(boxes)), key=lambda i: -_area(boxes[i]))
    line = max(2, round(min(canvas.size) / 280))
    for i in largest_first if detections.rle is not None else ():
        _paint_mask(canvas, detections.mask(i), scale, colours[i], line)
    for i in largest_first:
        _draw_box(canvas, boxes[i], colours[i], line)
    if detections.keypoints is not None:
        points = detections.keypoints * np.array([scale, scale, 1], np.float32)
        lines = lines_between(detections.keypoint_names)
        dots = [colour_of(j) for j in range(len(detections.keypoint_names))]
        for i in largest_first:
            size_px = min(line, round(math.sqrt(_area(boxes[i])) / _KEYPOINT_SHARE))
            draw_keypoints(canvas, points[i], lines, colours[i], dots, size_px)
    _draw_labels(canvas, boxes, _texts(detections), colours)
    return canvas


def _texts(detections: Drawable) -> list[tuple[str, str | None]]:
    """Name and score of each object, as its label says them."""
    if detections.scores is None:
        return [(name, None) for name in detections.names]
    return [(name, f"{100 * score:.0f}%") for name, score in zip(detections.names, detections.scores, strict=True)]


def _area(box: npt.NDArray[np.float32]) -> float:
    """Area of an xyxy box."""
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _paint_mask(canvas: Image.Image, mask: npt.NDArray[np.bool_], scale: int, colour: Colour, line: int) -> None:
    """Blend one mask into the picture, in the mask's own window, with a contour inside and a dark line outside it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    margin = 2 * line
    top, left = rows[0] * scale - margin, columns[0] * scale - margin
    window = Image.fromarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    window = window.convert("L").resize((window.width * scale, window.height * scale), Image.Resampling.BICUBIC)
    padded = Image.new("L", (window.width + 2 * margin, window.height + 2 * margin))
    padded.paste(window, (margin, margin))
    inside = np.asarray(padded.point([0] * 128 + [255] * 128))
    solid = Image.fromarray(inside)
    eroded = np.asarray(solid.filter(ImageFilter.MinFilter(2 * line + 1)))
    dilated = np.asarray(solid.filter(ImageFilter.MaxFilter(2 * max(1, line // 2) + 1)))
    shade = np.where((dilated > 0) & (inside == 0), int(255 * _SHADE), 0).astype(np.uint8)
    tint = np.where(inside > 0, np.where(eroded > 0, int(255 * FILL), 255), 0).astype(np.uint8)
    canvas.paste((0, 0, 0), (int(left), int(top)), Image.fromarray(shade))
    canvas.paste(colour, (int(left), int(top)), Image.fromarray(tint))


def _draw_box(canvas: Image.Image, box: npt.NDArray[np.float32], colour: Colour, line: int) -> None:
    """Draw one box as a thin line over a slightly wider, darker one."""
    pen = ImageDraw.Draw(canvas, "RGBA")
    x0, y0 = (math.floor(value) for value in box[:2])
    x1, y1 = max(x0, math.ceil(box[2]) - 1), max(y0, math.ceil(box[3]) - 1)
    pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=(0, 0, 0, 90), width=line + 2)
    pen.rectangle((x0, y0, x1, y1), outline=(*colour, 235), width=line)


def _draw_labels(
    canvas: Image.Image,
    boxes: npt.NDArray[np.float32],
    texts: Sequence[tuple[str, str | None]],
    colours: Sequence[Colour],
) -> None:
    """Draw name and score of each object, best first, each where it hides no label drawn before it."""
    style = LabelStyle.for_picture(canvas.size, len(boxes))
    pen = ImageDraw.Draw(canvas)
    taken: list[tuple[int, int, int, int]] = []
    for box, (name, score), colour in zip(boxes, texts, colours, strict=True):
        text = style.fit(name, score, canvas.width)
        place = place_label(box, style.size(text), canvas.size, taken)
        taken.append(place)
        pen.rounded_rectangle(place, radius=style.padding_px, fill=colour)
        middle = (place[1] + place[3] + 1) / 2
        pen.text((place[0] + style.padding_px, middle), text, fill=ink_on(colour), font=style.font, anchor="lm")


def _luminance(colour: Colour) -> float:
    """Relative luminance, 0 black to 1 white. Ref: WCAG 2.2, relative luminance (gamma rounded to 2.2)."""
    red, green, blue = (math.pow(part / 255, 2.2) for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
