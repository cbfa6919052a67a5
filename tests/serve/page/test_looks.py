"""How the page looks at phone and desktop width, in light and dark: kept pictures, and where things stand.

The kept pictures, in `looks`, are an eighth of the size: lines of text are grey there, whatever the font. To renew one,
look at the picture that a failed test names and copy it there.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser
from serve import standin
from support.processes.page import Desk

pytestmark = pytest.mark.triton

KEPT = Path(__file__).parent / "looks"
WIDTHS = {"phone": {"width": 360, "height": 740}, "desktop": {"width": 1280, "height": 900}}
SCHEMES = ("light", "dark")
SMALLER = 8
# Of 255, mean over the picture. A serif font in place of the page's is 0.5 to 1.8 away, a page without its pictures 10
# or more, as the second test sees.
LIMIT = 5.0


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in SCHEMES], ids=lambda pair: "-".join(pair))
def look(request, browser: Browser, link_with_points: str, tmp_path: Path) -> Iterator[tuple[str, Desk]]:
    """Name of the look, and the page with three images."""
    width, scheme = request.param
    with browser.new_context(viewport=WIDTHS[width], color_scheme=scheme, bypass_csp=True) as context:
        desk = Desk(context.new_page(), link_with_points, tmp_path)
        desk.choose(five_png=standin.picture(5, (480, 640)), nine_jpg=standin.picture(90, (480, 640)), text_txt=b"text")
        yield f"{width}-{scheme}", desk


def smaller(desk: Desk) -> np.ndarray:
    image = Image.open(io.BytesIO(desk.page.screenshot()), formats=["PNG"]).convert("RGB")
    return np.asarray(image.reduce(SMALLER), float)


def kept(name: str) -> np.ndarray:
    return np.asarray(Image.open(KEPT / f"{name}.png", formats=["PNG"]), float)


def test_it_looks_as_it_did(look: tuple[str, Desk], tmp_path: Path) -> None:
    name, desk = look
    seen = smaller(desk)
    Image.fromarray(seen.round().astype(np.uint8)).save(tmp_path / f"{name}.png")
    assert seen.shape == kept(name).shape
    assert np.abs(seen - kept(name)).mean() < LIMIT, tmp_path / f"{name}.png"


def test_another_font_is_within_the_limit_and_another_page_is_not(look: tuple[str, Desk]) -> None:
    name, desk = look
    desk.page.add_style_tag(content="* { font-family: serif !important }")
    assert np.abs(smaller(desk) - kept(name)).mean() < LIMIT
    desk.page.add_style_tag(content="#work { display: none !important }")
    assert np.abs(smaller(desk) - kept(name)).mean() > LIMIT
    other = name.replace("light", "dark") if "light" in name else name.replace("dark", "light")
    assert np.abs(kept(other) - kept(name)).mean() > LIMIT


def test_nothing_is_cut_off_and_the_controls_stand_where_there_is_room(look: tuple[str, Desk]) -> None:
    name, desk = look
    wide = desk.page.viewport_size["width"]
    assert desk.page.evaluate("() => document.documentElement.scrollWidth") <= wide
    boxes = {
        one: desk.page.locator(one).bounding_box() for one in ("#inputs", "#strip", "#picture", "#controls", "#canvas")
    }
    for one, box in boxes.items():
        assert box["x"] >= 0, one
        assert box["x"] + box["width"] <= wide, one
    assert boxes["#inputs"]["y"] < boxes["#strip"]["y"] < boxes["#picture"]["y"] < boxes["#canvas"]["y"]
    beside = boxes["#controls"]["x"] >= boxes["#picture"]["x"] + boxes["#picture"]["width"]
    below = boxes["#controls"]["y"] >= boxes["#picture"]["y"] + boxes["#picture"]["height"]
    assert (beside, below) == (("desktop" in name), ("phone" in name))
    buttons = desk.page.locator("button:visible, .button:visible")
    assert all(buttons.nth(i).bounding_box()["height"] >= 24 for i in range(buttons.count()))  # WCAG 2.2, 2.5.8
