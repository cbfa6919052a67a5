"""The figures of a comparison as rows of text, for the terminal and for the page."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from maskline_client.compare.figures import Comparison

Row = tuple[str, ...]


def rows(comparison: Comparison) -> list[Row]:
    """What is compared, then a cell a side; where both have one figure together, the second cell is empty."""
    found = comparison.figures()
    return [
        ("images", str(found["images"]), ""),
        (f"objects of score {comparison.score_thresh:g} or more", str(found["objects_a"]), str(found["objects_b"])),
        ("found by both, as the same class", f"{found['both']} ({100 * found['agreement']:.1f} %)", ""),
        ("found by one alone", str(found["only_a"]), str(found["only_b"])),
        ("found by both, as two classes", str(found["label_flips"]), ""),
        ("IoU of boxes: mean, least", _two(found["box_iou_mean"], found["box_iou_least"]), ""),
        ("IoU of masks: mean, least", _two(found["mask_iou_mean"], found["mask_iou_least"]), ""),
        (
            "change of score: mean, largest",
            _two(found["score_change_mean"], found["score_change_largest"], sign="+"),
            "",
        ),
        ("change of objects an image, mean", _number(found["count_change_mean"], "+.3f"), ""),
        ("images with another number of objects", str(found["images_of_other_count"]), ""),
        ("latency, median", *(f"{_number(found[key], '.1f')} ms" for key in ("latency_ms_a", "latency_ms_b"))),
    ]


def class_head(comparison: Comparison) -> Row:
    """What stands above `class_rows`."""
    return "class", comparison.a.title, comparison.b.title, "both", "box IoU", "mask IoU"


def class_rows(comparison: Comparison) -> list[Row]:
    """Name, objects of each side, of both, mean IoU of boxes and masks; a class a row."""
    return [
        (
            one.name,
            str(one.objects_a),
            str(one.objects_b),
            str(one.both),
            _number(one.box_iou, ".4f"),
            _number(one.mask_iou, ".4f"),
        )
        for one in comparison.classes()
    ]


def print_tables(console: Console, comparison: Comparison) -> None:
    """Print which models they are, and both tables."""
    a, b = comparison.a, comparison.b
    for side in (a, b):
        console.print(f"{side.title}: {side.model.identity}", soft_wrap=True)
    for head, lines in (
        (("", a.title, b.title), rows(comparison)),
        (class_head(comparison), class_rows(comparison)),
    ):
        table = Table()
        for position, name in enumerate(head):
            table.add_column(name, justify="right" if position else "left")
        for line in lines:
            table.add_row(*line)
        console.print(table)


def _two(first: float | None, second: float | None, sign: str = "") -> str:
    return f"{_number(first, f'{sign}.4f')}, {_number(second, f'{sign}.4f')}"


def _number(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)
