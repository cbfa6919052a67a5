"""Two models on the same images: pairs by hand, figures, the table, the JSON and the page."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from maskline_client import ContractMismatch, Detections, Detector, rle
from maskline_client.compare.figures import Comparison, ImageResult, Side
from maskline_client.compare.page import AGREED, to_html
from maskline_client.compare.pairs import pair_objects
from maskline_client.compare.run import Asked, compare
from maskline_client.served_model import ServedModel
from unit.client.commands.test_cli import assert_one_line, photo, run
from unit.client.triton_double import CLASSES, WITH_MASKS, Script, Server, serving

SIDE = 20  # px of the square image of the tests by hand


def square(x0: int, y0: int, side: int = 10) -> list[int]:
    return [x0, y0, x0 + side, y0 + side]


def found(*objects: tuple[list[int], float, str], masks: bool = True) -> Detections:
    """An answer of boxes with scores and names; the masks are the boxes."""
    texts = []
    for (x0, y0, x1, y1), _, _ in objects:
        mask = np.zeros((SIDE, SIDE), bool)
        mask[y0:y1, x0:x1] = True
        texts.append(rle.from_mask(mask))
    names = tuple(name for _, _, name in objects)
    return Detections(
        np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in objects], np.float32),
        np.array([CLASSES.index(name) for name in names], np.int32),
        names,
        tuple(texts) if masks else None,
        (SIDE, SIDE),
    )


def compared(*pairs: tuple[Detections, Detections]) -> Comparison:
    model = ServedModel(CLASSES, WITH_MASKS, 5)
    sides = (Side("a", "a:1", model), Side("b", "b:1", model))
    images = (
        ImageResult(Path(f"{i}.png"), a, b, pair_objects(a, b, 0.5), 10.0, 20.0) for i, (a, b) in enumerate(pairs)
    )
    return Comparison(*sides, 0.5, tuple(images))


def test_the_same_answers_agree() -> None:
    answer = found((square(0, 0), 0.9, "circle"), (square(10, 10), 0.8, "star"))
    pairs = pair_objects(answer, answer, 0.5)
    assert [(pair.a, pair.b, pair.box_iou, pair.mask_iou, pair.score_change) for pair in pairs.pairs] == [
        (0, 0, 1.0, 1.0, 0.0),
        (1, 1, 1.0, 1.0, 0.0),
    ]
    assert (pairs.flips, pairs.only_a, pairs.only_b, pairs.likeness) == ((), (), (), 1.0)


def test_a_page_says_so_where_no_image_differs() -> None:
    answer = found((square(0, 0), 0.9, "circle"))
    page = to_html(compared((answer, answer)), 8)
    assert page.count(AGREED) == 1
    assert "<img" not in page


def test_each_difference_is_told_by_its_kind() -> None:
    a = found((square(0, 0), 0.9, "circle"), (square(10, 0), 0.8, "star"), (square(0, 10), 0.7, "square"))
    b = found((square(10, 0), 0.9, "circle"), (square(2, 0), 0.8, "circle"), (square(10, 10), 0.7, "square"))
    pairs = pair_objects(a, b, 0.5)
    (pair,), (flip,) = pairs.pairs, pairs.flips
    # 8 x 10 of the 120 pixels that the two squares cover.
    assert (pair.a, pair.b) == (0, 1)
    assert (pair.box_iou, pair.mask_iou) == pytest.approx((80 / 120, 80 / 120))
    assert pair.score_change == pytest.approx(-0.1)
    assert (flip.a, flip.b, flip.name) == (1, 0, "star")
    assert (pairs.only_a, pairs.only_b) == ((2,), (2,))
    assert pairs.likeness == pytest.approx(80 / 120 / 4)


def test_an_object_whose_score_crossed_the_threshold_is_not_missing() -> None:
    pairs = pair_objects(found((square(0, 0), 0.51, "star")), found((square(0, 0), 0.49, "star")), 0.5)
    assert (len(pairs.pairs), pairs.only_a, pairs.only_b, pairs.count_a, pairs.count_b) == (1, (), (), 1, 0)
    unsure = found((square(0, 0), 0.49, "star"))
    assert pair_objects(unsure, unsure, 0.5).pairs == ()
    assert pair_objects(unsure, found(), 0.5).only_a == ()


def test_nothing_found_by_both_is_agreement() -> None:
    comparison = compared((found(), found()))
    assert (comparison.agreement, comparison.worst(3)) == (1.0, [])
    assert comparison.figures()["box_iou_mean"] is None


def test_models_are_compared_by_the_names_of_their_classes() -> None:
    a, b = found((square(0, 0), 0.9, "star")), found((square(0, 0), 0.9, "star"))
    other = Detections(b.boxes, b.scores, np.zeros(1, np.int32), b.names, b.rle, b.image_size)
    assert len(pair_objects(a, other, 0.5).pairs) == 1


def test_without_masks_on_a_side_boxes_decide() -> None:
    pairs = pair_objects(found((square(0, 0), 0.9, "star")), found((square(2, 0), 0.9, "star"), masks=False), 0.5)
    assert pairs.pairs[0].mask_iou is None
    assert pairs.likeness == pytest.approx(80 / 120)


def test_figures_add_up_over_images_and_the_worst_comes_first() -> None:
    one = found((square(0, 0), 0.9, "circle"))
    comparison = compared((one, one), (one, found()), (one, found((square(2, 0), 0.8, "circle"))))
    figures = comparison.figures()
    assert (figures["images"], figures["objects_a"], figures["objects_b"], figures["both"]) == (3, 3, 2, 2)
    assert figures["agreement"] == pytest.approx(2 / 3)
    assert figures["box_iou_mean"] == pytest.approx((1 + 80 / 120) / 2)
    assert figures["score_change_mean"] == pytest.approx(-0.05)
    assert (figures["count_change_mean"], figures["images_of_other_count"]) == (pytest.approx(-1 / 3), 1)
    assert (figures["latency_ms_a"], figures["latency_ms_b"]) == (10.0, 20.0)
    assert [image.path.name for image in comparison.worst(5)] == ["1.png", "2.png"]
    (circle,) = comparison.classes()
    assert (circle.name, circle.objects_a, circle.objects_b, circle.both) == ("circle", 3, 2, 2)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 30)])
def test_iou_of_masks_is_that_of_their_pixels(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    for share in (0.0, 0.1, 0.9, 1.0):
        a, b = (rng.random(size) < share for _ in range(2))
        union = (a | b).sum()
        expected = (a & b).sum() / union if union else 1.0
        assert rle.iou(rle.from_mask(a), rle.from_mask(b)) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="expected two of one image"):
        rle.iou(rle.from_mask(a), rle.from_mask(np.ones((2, 99))))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b.png")
    return tmp_path / "in"


def test_two_models_of_one_server(server: Server, photos: Path, tmp_path: Path) -> None:
    server.script.models = ("old", "new")
    words = ["compare", "old", "new", "--images", photos, "--url", server.url]
    result = run(*words, "--json", tmp_path / "c.json", "--page", tmp_path / "c.html", "--min-agreement", 1)
    assert result.returncode == 0, result.stderr
    assert "found by both, as the same class" in result.stdout
    told = json.loads((tmp_path / "c.json").read_text())
    assert told["format"] == "maskline-compare/1"
    assert [told["models"][side]["name"] for side in "ab"] == ["old", "new"]
    assert told["figures"]["agreement"] == 1.0
    assert [Path(image["file"]).name for image in told["images"]] == ["a.png", "b.png"]
    assert "<img" not in (tmp_path / "c.html").read_text()  # nothing differs


def test_two_servers_that_differ(server: Server, photos: Path, tmp_path: Path) -> None:
    """The second one's classes are in another order: each of its objects has another name, but for the middle one."""
    with serving(Script(labels=json.dumps(CLASSES[::-1]))) as other:
        words = ["compare", "maskrcnn", "maskrcnn", "--images", photos, "--url", server.url, "--url-b", other.url]
        words += ["--score-thresh", 0.65]
        result = run(*words, "--page", tmp_path / "c.html", "--json", tmp_path / "c.json")
        assert result.returncode == 0, result.stderr
        refused = run(*words, "--min-agreement", 0.5)
    figures = json.loads((tmp_path / "c.json").read_text())["figures"]
    assert (figures["both"], figures["label_flips"], figures["only_a"], figures["only_b"]) == (2, 4, 0, 0)
    assert_one_line(refused, 1, "got an agreement of 0.3333, expected at least 0.5")
    page = (tmp_path / "c.html").read_text()
    assert AGREED not in page
    assert len(re.findall('<img alt="3 objects" src="data:image/jpeg;base64,', page)) == 4  # two images, both sides
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_what_cannot_be_compared_is_said(server: Server, photos: Path) -> None:
    url = ["--images", photos, "--url", server.url]
    assert_one_line(run("compare", "maskrcnn", "maskrcnn", *url), 2, "twice, expected two models")
    assert_one_line(run("compare", "maskrcnn", "nuclei", *url), 4, "got no model nuclei")
    with serving(Script(labels=json.dumps(["cell", "cat", "dog"]))) as other:
        words = ("compare", "maskrcnn", "maskrcnn", *url, "--url-b", other.url)
        assert_one_line(run(*words), 2, "expected some in common")


def test_an_image_that_is_refused_is_named_and_the_others_are_compared(server: Server, photos: Path) -> None:
    server.script.models = ("old", "new")
    (photos / "torn.png").write_bytes(b"no picture")
    result = run("compare", "old", "new", "--images", photos, "--url", server.url)
    assert_one_line(result, 2, "torn.png")
    assert "images" in result.stdout


def test_a_model_that_changes_ends_the_comparison(server: Server, photos: Path) -> None:
    with Detector(server.url) as detector:
        now = detector.model
        before = dataclasses.replace(now, identity=dataclasses.replace(now.identity, revision="1f0c6b3ad2e9"))
        a, b = (Asked(Side("it", server.url, model), detector) for model in (now, before))
        with pytest.raises(ContractMismatch, match=r"changed during this comparison: .*expected .*1f0c6b3ad2e9"):
            compare(a, b, sorted(photos.iterdir()), 0.5)
