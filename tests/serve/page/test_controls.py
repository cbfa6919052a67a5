"""Every control of the page, in a real Chromium before the real server: what it changes, and that it asks nobody anew.

The stand-in finds as many objects as a picture's value says, in the cells of a 10 x 10 grid: object d in column d of
the first row, of class d modulo 3, solid in the left half of its cell (standin.py).
"""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from maskline_show.picture import FILL, colour_of
from PIL import Image
from serve import standin
from support.processes.page import Desk

pytestmark = pytest.mark.triton

SIZE = (480, 640)
FIVE = standin.picture(5, SIZE)
# Shares of the canvas: in the mask of object 0, and in the other half of its cell, which is the box's alone.
IN_MASK, BESIDE = (0.025, 0.07), (0.085, 0.07)
NEAR = 6  # of 255: a browser blends in 8 bits, and scales a picture of one colour to that colour


def tinted(label: int, value: int = 5) -> np.ndarray:
    """The colour of a class over a grey."""
    return np.array(colour_of(label)) * FILL + value * (1 - FILL)


def bare(desk: Desk) -> None:
    """Masks alone, so that pixels can be foreseen."""
    for name in ("boxes", "names", "keypoints"):
        desk.page.locator(f"#show-{name}").uncheck()


def test_several_images_are_shown_one_at_a_time(desk: Desk) -> None:
    desk.choose(five_png=FIVE, two_jpg=standin.picture(2, SIZE, "JPEG"), none_webp=standin.picture(0, SIZE, "WEBP"))
    assert desk.texts("#strip button .soft") == ["5 objects", "2 objects", "0 objects"]
    assert desk.texts("#name") == ["five.png, 640 × 480"]
    desk.look_at("two.jpg")
    assert desk.texts("#name") == ["two.jpg, 640 × 480"]
    assert desk.texts("#objects .grow") == ["square", "circle"]
    assert desk.page.locator("#canvas").get_attribute("aria-label") == "two.jpg: square, circle"
    assert desk.page.locator("#strip [aria-current=true] .file").inner_text() == "two.jpg"


def test_threshold_and_classes_change_what_is_shown_without_asking_again(desk: Desk) -> None:
    desk.choose(five_png=FIVE)
    bare(desk)
    asked = desk.detections_asked()
    np.testing.assert_allclose(desk.pixel(*IN_MASK), tinted(0), atol=NEAR)
    desk.threshold(98)  # scores are 0.99, 0.985, 0.98, 0.975, ...: float32 has 0.98 a little above
    assert desk.texts("#objects-title") == ["3 of 5 objects"]
    assert desk.texts("#threshold-said") == ["0.98"]
    assert desk.texts("#strip button .soft") == ["3 objects"]
    desk.page.get_by_role("checkbox", name="square").uncheck()
    assert desk.texts("#objects-title") == ["2 of 5 objects"]
    np.testing.assert_allclose(desk.pixel(*IN_MASK), 5, atol=NEAR)
    desk.page.get_by_role("button", name="none").click()
    assert desk.texts("#objects-title") == ["0 of 5 objects"]
    desk.page.get_by_role("button", name="all", exact=True).click()
    desk.threshold(0)
    assert desk.texts("#objects-title") == ["5 of 5 objects"]
    assert desk.texts("#classes label") == ["square 2", "circle 2", "star 1"]
    assert desk.detections_asked() == asked == 1


def test_masks_boxes_names_and_keypoints_are_switched_each_by_itself(desk: Desk) -> None:
    desk.choose(five_png=FIVE)
    for name in ("masks", "boxes", "names", "keypoints"):
        desk.page.locator(f"#show-{name}").uncheck()
    assert {desk.pixel(x / 100, y / 100) for x in range(0, 60, 2) for y in range(0, 15)} == {(5, 5, 5)}
    places = {"masks": IN_MASK, "boxes": (0.05, 0.1), "names": (0.01, 0.01), "keypoints": (0.025, 0.05)}
    for name, place in places.items():
        desk.page.locator(f"#show-{name}").check()
        assert max(abs(value - 5) for value in desk.pixel(*place)) > 40, name
        desk.page.locator(f"#show-{name}").uncheck()
        assert desk.pixel(*place) == (5, 5, 5), name


def test_an_object_stands_out_by_pointer_by_focus_and_held(desk: Desk) -> None:
    desk.choose(five_png=FIVE)
    bare(desk)
    other = (0.125, 0.07)  # in the mask of object 1
    plain = np.array(desk.pixel(*other), float)
    canvas = desk.page.locator("#canvas")
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": IN_MASK[0] * box["width"], "y": IN_MASK[1] * box["height"]})
    np.testing.assert_allclose(desk.pixel(*IN_MASK), tinted(0), atol=NEAR)
    assert np.abs(desk.pixel(*other) - plain).max() > 20
    canvas.hover(position={"x": 0.9 * box["width"], "y": 0.9 * box["height"]})
    np.testing.assert_allclose(desk.pixel(*other), plain)
    second = desk.page.locator("#objects button").nth(1)
    second.focus()
    np.testing.assert_allclose(desk.pixel(*other), plain)
    assert np.abs(desk.pixel(*IN_MASK) - tinted(0)).max() > 20
    desk.page.keyboard.press("Enter")
    assert second.get_attribute("aria-pressed") == "true"
    desk.page.locator("#threshold").focus()
    assert np.abs(desk.pixel(*IN_MASK) - tinted(0)).max() > 20  # held
    desk.page.keyboard.press("Escape")
    assert second.get_attribute("aria-pressed") == "false"
    np.testing.assert_allclose(desk.pixel(*IN_MASK), tinted(0), atol=NEAR)


def test_zoom_by_buttons_keys_wheel_and_pointer(desk: Desk) -> None:
    desk.choose(five_png=FIVE)
    bare(desk)
    corner = "() => { const c = document.querySelector('#canvas'); return c.classList.contains('closer') }"
    desk.page.locator("#closer").click()  # about the middle: the first row of cells leaves
    assert desk.page.evaluate(corner)
    np.testing.assert_allclose(desk.pixel(*IN_MASK), 5, atol=NEAR)
    desk.page.locator("#whole").click()
    np.testing.assert_allclose(desk.pixel(*IN_MASK), tinted(0), atol=NEAR)
    desk.page.locator("#canvas").focus()
    for key in ("+", "+", "+", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp"):
        desk.page.keyboard.press(key)
    for _ in range(12):
        desk.page.keyboard.press("ArrowLeft")
    np.testing.assert_allclose(desk.pixel(0.08, 0.15), tinted(0), atol=NEAR)  # 2.7 times as large, from the corner
    desk.page.keyboard.press("-")
    desk.page.locator("#farther").click()
    desk.page.keyboard.press("Tab")
    desk.page.locator("#canvas").press("0")
    assert not desk.page.evaluate(corner)
    box = desk.page.locator("#canvas").bounding_box()
    assert box is not None
    desk.page.mouse.move(box["x"] + 4, box["y"] + 4)
    desk.page.keyboard.down("Control")
    for _ in range(3):
        desk.page.mouse.wheel(0, -100)
    desk.page.keyboard.up("Control")
    np.testing.assert_allclose(desk.pixel(0.08, 0.15), tinted(0), atol=NEAR)  # what is under the pointer stays there
    desk.page.mouse.down()
    desk.page.mouse.move(box["x"] - 0.5 * box["width"], box["y"] + 4)
    desk.page.mouse.up()
    desk.page.mouse.move(1, 1)
    np.testing.assert_allclose(desk.pixel(0.08, 0.15), tinted(2), atol=NEAR)  # half a canvas further: 0.21 of the image


def test_files_that_are_saved_hold_what_is_shown(desk: Desk) -> None:
    desk.choose(five_png=FIVE, two_png=standin.picture(2, (60, 80)))
    desk.threshold(98)
    bare(desk)
    drawn = Image.open(io.BytesIO(desk.saved("#save-png")), formats=["PNG"])
    assert drawn.size == (640, 480)
    pixels = np.asarray(drawn.convert("RGB"))
    np.testing.assert_allclose(pixels[20, 15], tinted(0), atol=NEAR)
    assert (pixels[20, 3 * 64 + 15] == 5).all()  # object 3 is below the threshold
    coco = json.loads(desk.saved("#save-coco"))
    assert [(one["id"], one["file_name"], one["width"]) for one in coco["images"]] == [
        (1, "five.png", 640),
        (2, "two.png", 80),
    ]
    assert [one["image_id"] for one in coco["annotations"]] == [1, 1, 1, 2, 2]
    assert [one["id"] for one in coco["annotations"]] == [1, 2, 3, 4, 5]
    assert coco["info"]["model"]["name"] == "maskrcnn"
    assert [one["name"] for one in coco["categories"]] == list(standin.SPEC.classes)
    np.testing.assert_allclose(coco["annotations"][1]["bbox"], [64, 0, 64, 48], atol=1e-3)  # float32 on the way
    desk.look_at("two.png")
    assert Image.open(io.BytesIO(desk.saved("#save-png")), formats=["PNG"]).size == (640, 480)  # 8 times as large


def test_pasted_and_dropped_images_are_taken(desk: Desk) -> None:
    give = """([kind, name, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
        const event = kind === "paste" ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true})
            : new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true});
        document.body.dispatchEvent(event);
    }"""
    desk.page.evaluate(give, ["paste", "pasted.png", list(standin.picture(1))])
    desk.ended(1)
    desk.page.evaluate(give, ["dragover", "x", []])
    assert desk.page.locator("#drop").is_visible()
    desk.page.evaluate(give, ["drop", "dropped.png", list(standin.picture(3))])
    desk.ended(2)
    assert not desk.page.locator("#drop").is_visible()
    assert desk.texts("#strip .file") == ["pasted.png", "dropped.png"]
    assert desk.texts("#strip button .soft") == ["1 object", "3 objects"]


def test_a_frame_of_the_camera_is_an_image(desk: Desk) -> None:
    desk.page.locator("#camera").click()
    desk.page.locator("#video").wait_for()
    playing = "() => new Promise((done) => { const v = document.querySelector('#video'); "
    playing += "const at = () => v.videoWidth ? done(v.videoWidth) : setTimeout(at, 50); at(); })"
    width = desk.page.evaluate(playing)
    desk.page.locator("#shoot").click()
    desk.ended(1)
    assert desk.texts("#name")[0].startswith(f"camera-1.jpg, {width} × ")
    desk.page.locator("#camera-stop").click()
    assert not desk.page.locator("#video").is_visible()


def test_the_time_of_each_step_stands_beside_the_picture(desk: Desk) -> None:
    desk.choose(five_png=FIVE)
    assert desk.texts("#times dt") == ["transfer", "page", "model's server", "drawing"]
    assert all(float(text.removesuffix(" ms")) > 0 for text in desk.texts("#times dd"))


def test_everything_has_a_name_and_is_reached_by_keyboard(desk: Desk) -> None:
    desk.choose(five_png=FIVE, text_png=b"hello")
    assert "five.png" in desk.page.locator("#canvas").get_attribute("aria-label")
    seen = []
    for _ in range(60):
        desk.page.keyboard.press("Tab")
        name = "() => { const e = document.activeElement; return [e.id || e.textContent.trim(), "
        name += "e.ariaLabel || e.labels?.[0]?.textContent.trim() || e.textContent.trim()] }"
        what, called = desk.page.evaluate(name)
        assert called or what == "", what
        seen.append(what)
    wanted = {"files", "camera", "closer", "farther", "whole", "save-png", "save-coco", "canvas", "threshold"}
    wanted |= {"show-masks", "show-boxes", "show-names", "show-keypoints", "classes-all", "classes-none"}
    assert wanted <= set(seen)
    assert sum("0.9" in what for what in seen) >= 5  # the objects
    desk.look_at("text.png")
    assert desk.page.locator("#error").get_attribute("role") == "alert"
    assert desk.page.locator("#said").get_attribute("aria-live") == "polite"
