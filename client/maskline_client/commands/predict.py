"""Detections of a folder of images as JSON lines, for large offline runs that may be stopped and run again.

`predictions-00000.jsonl` and so on hold one line an image, in the order of the names, a fixed number of lines a file;
`predictions.json` says what the lines were made with. A line is written whole before the next one, so that after a
crash at most the last line is torn; the next run cuts it off and goes on behind it.

A line: {"file": name below the folder, "image_size": [h, w], "boxes": [[x0, y0, x1, y1]], "scores": [], "labels": [],
"names": [], "rle": []}, or {"file": ..., "error": ...} for an image that the server refused; neither is sent again.
An image that could not be read, or is none, has no line: the next run tries it again. Of a model
for boxes alone there is no "rle"; one with keypoints adds "keypoints", of each object 3J numbers as in COCO's results
(x, y as pixel indices, probability), and their names to `predictions.json`.

Letters: J keypoints.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from maskline_command.naming import naming

from maskline_client.detections import Detections
from maskline_client.detector import IN_FLIGHT, ImageDetector, Outcome
from maskline_client.errors import InvalidImage, RefusedImage, of_file
from maskline_client.files import write_json
from maskline_client.served_model import ServedModel

FORMAT = "maskline-predictions/1"
SHARD_LINES = 1000
_HEADER = "predictions.json"


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a run found and did.

    Attributes:
        done_before: images that earlier runs had finished.
        predicted: images this run got detections for.
        refused: images that the server refused in this run, as lines.
        unread: what was wrong with images that were not sent; without lines.
    """

    done_before: int
    predicted: int
    refused: int
    unread: tuple[str, ...] = ()


class Shards:
    """The output folder: what is done, and where the next line goes.

    Args:
        folder: made if it does not exist.
        model: what is served; a folder begun with another artifact, other classes, keypoints or masks is refused.
        shard_lines: lines of a file; a folder begun with another number keeps its own.

    Raises:
        ValueError: the folder holds something else, or predictions of another model.
    """

    def __init__(self, folder: Path, model: ServedModel, shard_lines: int = SHARD_LINES) -> None:
        self._folder, self.model = folder, model
        self._shard_lines = _begin(folder, model, shard_lines)
        self._file: IO[bytes] | None = None
        self.done: set[str] = set()
        self._count = 0
        for path in sorted(folder.glob("predictions-*.jsonl")):
            names = _repair(path)
            self.done.update(names)
            self._count += len(names)

    def append(self, record: dict[str, Any]) -> None:
        """Write one line and hand it to the operating system."""
        index, position = divmod(self._count, self._shard_lines)
        if self._file is None or position == 0:
            self.close()
            # Without a buffer: what a full disk did not take would be tried again on closing, and fail again.
            self._file = (self._folder / f"predictions-{index:05d}.jsonl").open("ab", buffering=0)
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        with naming(Path(self._file.name)):
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._count += 1

    def close(self) -> None:
        """Close the file that is open, if any."""
        if self._file is not None:
            self._file.close()
            self._file = None


def predict(
    detector: ImageDetector,
    root: Path,
    paths: Iterable[Path],
    shards: Shards,
    in_flight: int = IN_FLIGHT,
    advance: Callable[[], None] = lambda: None,
    *,
    masks: bool = True,
) -> Progress:
    """Send the images that are not done yet and append their lines.

    Args:
        detector: connected to the server.
        root: names in the lines are relative to it.
        paths: of the images, below `root`.
        shards: where the lines go.
        in_flight: requests under way at a time.
        advance: called after each image.
        masks: False: boxes alone; the model of the shards must say so, too.

    Raises:
        ClientError: the server failed; what was written stays, and a later run goes on from there.
    """
    todo, done_before = [], 0
    for path in paths:
        if path.relative_to(root).as_posix() in shards.done:
            done_before += 1
        else:
            todo.append(path)
    refused, unread = 0, []
    try:
        outcomes = detector.try_detect_many(todo, in_flight, shards.model, masks=masks)
        for path, outcome in zip(todo, outcomes, strict=True):
            if isinstance(outcome.error, InvalidImage) and not isinstance(outcome.error, RefusedImage):
                unread.append(str(of_file(outcome.error, path)))
            else:
                shards.append(_record(path.relative_to(root).as_posix(), outcome))
                refused += outcome.error is not None
            advance()
    finally:
        shards.close()
    return Progress(done_before, len(todo) - refused - len(unread), refused, tuple(unread))


def _record(name: str, outcome: Outcome) -> dict[str, Any]:
    """The line of one image; an error that another try could mend is raised instead."""
    if isinstance(outcome.error, RefusedImage):
        return {"file": name, "error": str(outcome.error)}
    return as_record(name, outcome.unwrap())


def as_record(name: str, found: Detections) -> dict[str, Any]:
    """The line of an image with detections."""
    record = {
        "file": name,
        "image_size": list(found.image_size),
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "labels": found.labels.tolist(),
        "names": list(found.names),
    }
    if found.rle is not None:
        record["rle"] = [counts.decode("ascii") for counts in found.rle]
    if found.keypoints is not None:
        record["keypoints"] = [one.coco_keypoints() for one in found]
    return record


def _begin(folder: Path, model: ServedModel, shard_lines: int) -> int:
    """Check or write the header; returns the lines of a file."""
    path = folder / _HEADER
    expected = {
        "format": FORMAT,
        "classes": list(model.classes),
        "masks": model.has_masks,
        "keypoints": list(model.keypoint_names),
        "artifact": model.artifact,
        "model": dataclasses.asdict(model.identity),
    }
    if not path.exists():
        if any(folder.glob("predictions-*.jsonl")):
            raise ValueError(f"{folder}: got prediction files without {_HEADER}, expected both; use another --out")
        write_json(path, {**expected, "shard_lines": shard_lines})
        return shard_lines
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        lines = int(header["shard_lines"])
        # Headers of older releases do not speak of models without masks, of keypoints, or of which model it was.
        older = {"masks": True, "keypoints": [], "artifact": model.artifact, "model": expected["model"]}
        found = {**older, **{key: header[key] for key in expected if key in header}}
        different = [key for key in expected if found[key] != expected[key]]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: not a header of predictions ({error!r}); use another --out") from error
    if different:
        key = different[0]
        raise ValueError(
            f"{path}: got predictions with the {key} {_text(found[key])}, expected those of this server: "
            f"{_text(expected[key])}; use another --out"
        )
    return lines


def _text(value: Any) -> str:
    """A value of the header in short: the first five of many names; of a model what is not said by itself."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {said}" for key, said in value.items() if said and key != "artifact")
    return ", ".join(map(str, value[:5])) or "none" if isinstance(value, list) else str(value)


def _repair(path: Path) -> list[str]:
    """Cut a torn last line off and return the file names of the whole ones.

    Raises:
        ValueError: a line in the middle is not a record; that is no crash of ours.
    """
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    names: list[str] = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            names.append(json.loads(line)["file"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path}:{number}: not a prediction ({error!r}); delete the file to make it anew"
            ) from error
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return names
