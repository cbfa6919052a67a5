"""The check: the source's answers to the pictures of a folder beside those of what was imported."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

from maskline_command.console import progress, results

from maskline_train.convert.check.answers import Answer, Source, our_answer, pictures_in
from maskline_train.convert.check.canvases import listed_canvases, shown
from maskline_train.convert.check.compare import MIN_IOU, MIN_SHARE, SCORE, Comparison, agreement_table
from maskline_train.convert.check.golden import FILE, read_golden
from maskline_train.convert.report import Imported
from maskline_train.data.images import Pixels, decode_image
from maskline_train.model.mask_rcnn import MaskRCNN

PYTORCH = "PyTorch"  # the imported network itself


class CheckError(ValueError):
    """The answers are not the source's."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """The source's answers to the pictures of a folder.

    Attributes:
        folder: that was given.
        pictures: where the first of them is.
        name: who answers.
        pairs: each picture with its answer, made when it is asked for.
        count: of the pictures.
    """

    folder: Path
    pictures: Path
    name: str
    pairs: Iterator[tuple[Pixels, Answer]]
    count: int


def answers_of(imported: Imported, folder: Path) -> Answers:
    """The answers in the folder's `golden.json`, or else those of the framework's own network.

    Raises:
        OSError: no such folder, or a picture is missing.
        ValueError: no picture, a damaged `golden.json`, or nobody who can answer here.
    """
    if (folder / FILE).is_file():
        golden = read_golden(folder)
        pairs = ((decode_image(path), answer) for path, answer in golden)
        return Answers(folder, golden[0][0].parent, FILE, pairs, len(golden))
    paths = pictures_in(folder)
    if imported.source is None:
        raise ValueError(
            f"{folder}: no {FILE}, expected {imported.script or 'the framework'}'s answers to the pictures in it, "
            f"which is not run here: {_way_to_answers(imported)}"
        )
    source = imported.source()
    images = (decode_image(path) for path in paths)
    return Answers(folder, folder, "torchvision", ((image, source(image)) for image in images), len(paths))


def _way_to_answers(imported: Imported) -> str:
    if imported.script is None:
        return "let a program that runs it write that file; docs/import.md says how it looks"
    return f"`maskline-train import --golden-script {imported.script} > golden.py`, and run that where it is installed"


def run_check(model: MaskRCNN, answers: Answers, others: Mapping[str, Source] | None = None) -> None:
    """Compare picture by picture, and print the table; and what a list of canvases, which engines need, would change.

    Args:
        model: what was imported.
        answers: the source's.
        others: who else answers, by name: what was made of the model since.

    Raises:
        CheckError: fewer detections are found by both than have to be, with the model or another side.
        ImageError: a picture cannot be decoded.
    """
    sides: dict[str, Source] = {PYTORCH: functools.partial(our_answer, model), **(others or {})}
    pixels = model.spec.pixel_boxes
    comparisons = {side: Comparison(pixel_boxes=pixels) for side in sides}
    on_list, listed = Comparison(pixel_boxes=pixels), listed_canvases(model.spec.preprocessing)
    with progress() as bar:
        task = bar.add_task(f"{answers.name} against {', '.join(sides)}", total=answers.count)
        for image, answer in answers.pairs:
            found = {side: detect(image) for side, detect in sides.items()}
            for side, ours in found.items():
                comparisons[side].add(answer, ours)
            if listed is not None:
                on_list.add(found[PYTORCH], our_answer(model, image, listed))
            bar.advance(task)
    console = results()
    console.print(agreement_table(answers.name, comparisons))
    comparison = comparisons[PYTORCH]
    console.print(f"{comparison.pictures} pictures, {len(comparison.boxes)} pairs of detections")
    if listed is not None:
        console.print(f"on the canvases {shown(listed)}, a list as engines need it: {on_list.line()}", soft_wrap=True)
    for side, compared in comparisons.items():
        _judge(side, compared, answers.folder)


def _judge(side: str, comparison: Comparison, folder: Path) -> None:
    if not comparison.counted:
        raise CheckError(
            f"{folder}: neither side finds anything from score {SCORE} on, expected pictures of its classes"
        )
    if not comparison.same:
        reason = "a convention is not the source's; see what the report assumes, and set it right"
        if side != PYTORCH:
            reason = (
                "PyTorch's answers are the source's, so the export is at fault; `maskline-export verify` says where"
            )
        raise CheckError(
            f"{folder}: {side}: {100 * comparison.share:.1f} % of {comparison.counted} detections from score {SCORE} "
            f"on are found by both (IoU {MIN_IOU}, same class), expected at least {100 * MIN_SHARE:.0f} %: {reason}"
        )
