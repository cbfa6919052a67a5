"""What an ablation found, for a terminal, as Markdown, as JSON and as a sheet of pictures.

Letters: in a sheet, one line an image: the truth, then the detections of each row.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from maskline_show.thinned import draw_within
from PIL import Image, ImageDraw, ImageFont
from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.drawn import known
from maskline_train.evaluation.evaluate import percent
from maskline_train.evaluation.predict import sure_of
from maskline_train.evaluation.sheet import contact_sheet
from maskline_train.files import replace_file, save_image
from maskline_train.paper.row import SHEET_IMAGES, RowResult
from maskline_train.paper.table import METRICS, Table

SHEET_PX = 1600  # width of a sheet; with many columns it is wider:
LEAST_PX = 240  # a picture whose labels can be read
HEADING_PX = 15  # size of the letters above its columns
NOTE = (
    "In %. paper: its own network, data and schedule, to compare the direction with, not the figures. "
    "† from the publication's tables, not in its text."
)

Found = Sequence[RowResult | None]


def as_rich(table: Table, found: Found) -> Group:
    """For a terminal of 80 columns: a block for each kind, ours and the paper's figures row by row."""
    blocks: list[RichTable | Text] = [Text(table.title, style="bold"), Text(table.finding)]
    for kind in table.kinds:
        heads, lines = _block(table, found, kind)
        rich = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for index, head in enumerate(heads):
            theirs = head == "paper"
            rich.add_column(head, justify="right" if index else "left", style="dim" if theirs else None)
        for line in lines:
            rich.add_row(*line)
        blocks.append(rich)
    return Group(*blocks, Text(" ".join([*_left_out(table, found), NOTE]), style="italic"))


def write_report(table: Table, found: Found, val_set: CocoDataset, out: Path) -> None:
    """Write table.md, table.json and, where a row has a result, sheet.png.

    Args:
        table: the rows.
        found: a result of each, or None.
        val_set: what they were evaluated on.
        out: the folder.
    """
    lines = [f"# {table.title}", "", table.finding, f"The paper's setting: {table.setting}.", ""]
    for kind in table.kinds:
        heads, rows = _block(table, found, kind)
        lines += ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
        lines += [*("| " + " | ".join(row) + " |" for row in rows), ""]
    lines.append(" ".join([*_left_out(table, found), NOTE]))
    replace_file(out / "table.md", ("\n".join(lines) + "\n").encode())
    content = [None if result is None else {**dataclasses.asdict(result), "results": None} for result in found]
    replace_file(out / "table.json", (json.dumps(content, indent=1) + "\n").encode())
    shown = [result for result in found if result is not None]
    if shown:
        save_image(out / "sheet.png", _sheet(shown, val_set), "PNG")


def _block(table: Table, found: Found, kind: str) -> tuple[list[str], list[list[str]]]:
    """Column heads and cells for one kind; the paper has a column only where it has a figure."""
    heads, lines = [kind], [[f"{row.name} ({row.ledger})"] for row in table.rows]
    for metric in METRICS:
        name = f"{kind} {metric}"
        heads.append(metric)
        for line, result in zip(lines, found, strict=True):
            line.append(percent(result.metrics.get(name) if result else None))
        if any(name in row.paper for row in table.rows):
            heads.append("paper")
            for line, row in zip(lines, table.rows, strict=True):
                line.append(str(row.paper.get(name, "-")))
    if kind == table.kinds[0]:
        heads += ["steps", "min"]
        for line, result in zip(lines, found, strict=True):
            line += ["-", "-"] if result is None else [str(result.steps), f"{result.seconds / 60:.1f}"]
    return heads, lines


def _left_out(table: Table, found: Found) -> list[str]:
    """A sentence for each row that cannot be run from the same start as the others."""
    return [
        f"{row.name}: not run, it needs {row.needs}."
        for row, result in zip(table.rows, found, strict=True)
        if result is None and row.needs
    ]


def _sheet(found: Sequence[RowResult], val_set: CocoDataset) -> Image.Image:
    """One line of pictures an image under the names of the rows."""
    columns = 1 + len(found)
    pictures = []
    for index in range(min(SHEET_IMAGES, len(val_set))):
        image = Image.fromarray(val_set.image(index))
        drawn = [known(val_set, index), *(sure_of(val_set, result.results, index) for result in found)]
        pictures += [draw_within(image, objects, max(LEAST_PX, SHEET_PX // columns)) for objects in drawn]
    return _with_headings(contact_sheet(pictures, columns), ["truth", *(result.name for result in found)])


def _with_headings(sheet: Image.Image, names: Sequence[str]) -> Image.Image:
    """The sheet under a line of names, one a column, broken between words where they are too long."""
    font = ImageFont.load_default(HEADING_PX)
    room = sheet.width // len(names)
    broken = [_broken(name, room, font) for name in names]
    top = (HEADING_PX + 4) * max(text.count("\n") + 1 for text in broken) + 4
    whole = Image.new("RGB", (sheet.width, sheet.height + top), (255, 255, 255))
    whole.paste(sheet, (0, top))
    draw = ImageDraw.Draw(whole)
    for index, text in enumerate(broken):
        draw.multiline_text(((index + 0.5) * room, 2), text, (0, 0, 0), font, anchor="ma", align="center")
    return whole


def _broken(name: str, room_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The name with line breaks, so that each line is at most `room_px` wide; a longer word stays whole."""
    lines = [""]
    for word in name.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getbbox(longer)[2] > room_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)
