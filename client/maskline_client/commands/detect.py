"""The work of `maskline-client detect`: which files, where their pictures go, and the COCO JSON of all of them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from maskline_show.coco_person import lines_between
from maskline_show.picture import ColourBy, draw, viewing_scale

from maskline_client.commands.predict import as_record
from maskline_client.detections import Detections
from maskline_client.detector import ImageDetector
from maskline_client.errors import ClientError, InvalidImage, of_file
from maskline_client.files import write_png
from maskline_client.images import decode_rgb, list_images, read_file
from maskline_client.served_model import ServedModel

JSON_NAME = "detections.json"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to send.

    Attributes:
        path: the file.
        picture: where its drawn picture goes; None draws none.
    """

    path: Path
    picture: Path | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found in one file.

    Attributes:
        path: the file.
        detections: of the asked score and more.
        below: the best score that is less than asked; None where nothing was left out.
    """

    path: Path
    detections: Detections
    below: float | None = None

    @property
    def nothing(self) -> str:
        """What is said in the place of objects where there are none."""
        return "nothing found" + ("" if self.below is None else f"; the best score is {self.below:.3f}, not shown")


@dataclasses.dataclass(frozen=True)
class Report:
    """All answers, in the order of the files, and the refusals of the other files."""

    answers: list[Answer]
    errors: list[ClientError]

    def lines(self) -> Iterator[str]:
        """One line an object: file, class, score, box, mask's pixels; one for a file in which nothing was found.

        A tab, a line's end and the like in a file's name are written as in Python: they would part lines and columns.
        """
        for answer in self.answers:
            path = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(answer.path))
            if not len(answer.detections):
                yield f"{path}\t{answer.nothing}"
            for found in answer.detections:
                area = [] if found.rle is None else [str(found.area())]
                box = " ".join(f"{value:.1f}" for value in found.box)
                yield "\t".join([path, found.name, f"{found.score:.3f}", box, *area])

    def json_lines(self) -> Iterator[str]:
        """One line of JSON an image, with what was found in it."""
        for answer in self.answers:
            yield json.dumps(as_record(str(answer.path), answer.detections), allow_nan=False)

    def to_coco(self, model: ServedModel, folder: Path) -> dict[str, Any]:
        """A COCO data set of the answers, each annotation with its score; category id = label + 1.

        It can be read back as annotations of `folder`: file names are below it, the visibility of every keypoint is 2,
        and what the model thinks of each is in `keypoint_scores`.

        Args:
            model: that is served.
            folder: with all files in it or below.
        """
        annotations: list[dict[str, Any]] = []
        images = []
        for image_id, answer in enumerate(self.answers, 1):
            height, width = answer.detections.image_size
            images.append({"id": image_id, "file_name": _below(answer.path, folder), "height": height, "width": width})
            results = answer.detections.to_coco_results(image_id)
            for found, result in zip(answer.detections, results, strict=True):
                area = result["bbox"][2] * result["bbox"][3] if found.rle is None else found.area()
                points = _as_annotated(result["keypoints"]) if "keypoints" in result else {}
                annotations.append({"id": len(annotations) + 1, **result, **points, "area": area, "iscrowd": 0})
        named: dict[str, Any] = {}
        if model.keypoints is not None:
            lines = [[a + 1, b + 1] for a, b in lines_between(model.keypoint_names)]  # COCO counts from 1 here
            named = {"keypoints": list(model.keypoint_names), "skeleton": lines}
        categories = [{"id": label, "name": name, **named} for label, name in enumerate(model.classes, 1)]
        info = {"model": dataclasses.asdict(model.identity)}
        return {"info": info, "images": images, "categories": categories, "annotations": annotations}


def plan(images: Sequence[Path], out: Path | None) -> list[Job]:
    """The files to send, folders opened; pictures of earlier runs below `out` are left out.

    Raises:
        InvalidImage: a name that is neither file nor folder, or a folder without images.
        ValueError: `out` holds the images themselves, which a drawn picture might replace.
    """
    jobs: list[Job] = []
    taken: set[Path] = set()
    for named in images:
        if not named.exists():
            raise InvalidImage(f"{named}: got no such file or folder, expected images; check the name")
        if out is not None and named.resolve().is_relative_to(out.resolve()):
            raise ValueError(f"--out {out}: got the folder that {named} is in, expected another; choose a new one")
        for path in list_images(named) if named.is_dir() else [named]:
            if named.is_dir() and out is not None and path.resolve().is_relative_to(out.resolve()):
                continue
            below = path.relative_to(named) if named.is_dir() else Path(path.name)
            jobs.append(Job(path, None if out is None else _free_name(out / below, taken)))
    return jobs


def common_folder(images: Sequence[Path]) -> Path:
    """The folder that all of these files and folders are in; one folder alone is itself."""
    return Path(os.path.commonpath([(named if named.is_dir() else named.parent).absolute() for named in images]))


def _below(path: Path, folder: Path) -> str:
    return path.absolute().relative_to(folder).as_posix()


def _as_annotated(found: list[float]) -> dict[str, Any]:
    """The keypoints of a result as an annotation has them."""
    points = [value for x, y in zip(found[0::3], found[1::3], strict=True) for value in (x, y, 2)]
    return {"keypoints": points, "num_keypoints": len(found) // 3, "keypoint_scores": found[2::3]}


def run(
    detector: ImageDetector,
    model: ServedModel,
    jobs: Sequence[Job],
    score_thresh: float,
    in_flight: int,
    advance: Callable[[], None] = lambda: None,
    *,
    masks: bool = True,
    colour_by: ColourBy = "class",
) -> Report:
    """Send every file, draw what was found; a refused image is noted and the others go on.

    Args:
        detector: connected to the server.
        model: that all answers must be of.
        jobs: what to send, and where pictures go.
        score_thresh: lowest score of what is drawn and reported.
        in_flight: requests under way at a time.
        advance: called after each image.
        masks: False: boxes alone.
        colour_by: what the colours of a drawn picture follow.

    Raises:
        ClientError: the server failed; pictures drawn so far stay.
    """
    report = Report([], [])
    outcomes = detector.try_detect_many((job.path for job in jobs), in_flight, model, masks=masks)
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome.error, InvalidImage):
            report.errors.append(of_file(outcome.error, job.path))
        else:
            everything = outcome.unwrap()
            found = everything.filter(min_score=score_thresh)
            below = max((float(score) for score in everything.scores if score < score_thresh), default=None)
            if job.picture is not None:
                image = decode_rgb(read_file(job.path))
                scale = viewing_scale(found.image_size)
                write_png(job.picture, draw(image, found, colour_by=colour_by, scale=scale))
            report.answers.append(Answer(job.path, found, below))
        advance()
    return report


def _free_name(path: Path, taken: set[Path]) -> Path:
    """The name of a drawn picture; a.jpg and a.png in one folder become a.png and a-2.png."""
    picture, number = path.with_suffix(".png"), 1
    while picture in taken:
        number += 1
        picture = path.with_name(f"{path.stem}-{number}.png")
    taken.add(picture)
    return picture
