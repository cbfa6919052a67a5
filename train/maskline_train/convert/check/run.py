"""The check: the source's answers to the pictures of a folder beside those of what was imported."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from maskline_command.console import progress, results

from maskline_train.convert.check.answers import Answer, our_answer, pictures_in
from maskline_train.convert.check.canvases import listed_canvases, shown
from maskline_train.convert.check.compare import MIN_IOU, MIN_SHARE, SCORE, Comparison
from maskline_train.convert.check.golden import FILE, read_golden
from maskline_train.convert.report import Imported
from maskline_train.data.images import Pixels, decode_image
from maskline_train.model.mask_rcnn import MaskRCNN


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
            f"{folder}: no {FILE}, expected detectron2's answers to the pictures in it, which is not run here: "
            "`maskline-train import --golden-script > golden.py`, and run that where detectron2 is"
        )
    source = imported.source()
    images = (decode_image(path) for path in paths)
    return Answers(folder, folder, "torchvision", ((image, source(image)) for image in images), len(paths))


def run_check(model: MaskRCNN, answers: Answers) -> None:
    """Compare picture by picture, and print the table; and what a list of canvases, which engines need, would change.

    Raises:
        CheckError: fewer detections are found by both than have to be.
        ImageError: a picture cannot be decoded.
    """
    comparison, on_list, listed = Comparison(), Comparison(), listed_canvases(model.spec.preprocessing)
    with progress() as bar:
        task = bar.add_task(f"{answers.name} against PyTorch", total=answers.count)
        for image, answer in answers.pairs:
            ours = our_answer(model, image)
            comparison.add(answer, ours)
            if listed is not None:
                on_list.add(ours, our_answer(model, image, listed))
            bar.advance(task)
    console = results()
    console.print(comparison.table(answers.name))
    console.print(f"{comparison.pictures} pictures, {len(comparison.boxes)} pairs of detections")
    if listed is not None:
        console.print(f"on the canvases {shown(listed)}, a list as engines need it: {on_list.line()}", soft_wrap=True)
    if not comparison.counted:
        raise CheckError(
            f"{answers.folder}: neither side finds anything from score {SCORE} on, expected pictures of its classes"
        )
    if not comparison.same:
        raise CheckError(
            f"{answers.folder}: {100 * comparison.share:.1f} % of {comparison.counted} detections from score {SCORE} "
            f"on are found by both (IoU {MIN_IOU}, same class), expected at least {100 * MIN_SHARE:.0f} %: a "
            "convention is not the source's; see what the report assumes, and set it right"
        )
