"""From a file of weights to a repository that a server takes, each step checked before the next one."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from maskline_client import LocalDetector
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.verify.command import run as verify
from maskline_export.verify.lines.choose import Asked
from maskline_serve.repository.assemble import assemble, replaceable
from maskline_train.checkpoint import SPEC_FILE, save_model
from maskline_train.convert.check.answers import Answer
from maskline_train.convert.check.run import Answers, answers_of, run_check
from maskline_train.convert.file import import_file
from maskline_train.convert.options import ImportOptions
from maskline_train.data.images import Pixels
from maskline_train.files import refuse_existing, whole_folder
from maskline_train.model.mask_rcnn import MaskRCNN

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Shipment:
    """What is asked for.

    Attributes:
        source: a file of another framework's weights, or a checkpoint folder of ours.
        repository: folder to write; a repository that is there is replaced.
        options: what the weights of `source` do not say.
        place: which of several state dicts in the file.
        check: folder of pictures whose answers by the source are compared with ours; None: nothing of it.
        images: files and folders that PyTorch and ONNX Runtime are compared on; none: made ones of many sizes.
        keep: new folder for `checkpoint` and `artifact`, once all agrees; None leaves neither.
        force: replace a repository that was changed by hand.
    """

    source: Path
    repository: Path
    options: ImportOptions
    place: str | None = None
    check: Path | None = None
    images: Sequence[Path] = ()
    keep: Path | None = None
    force: bool = False


def ship(shipment: Shipment, say: Say, progress: Say = lambda _: None) -> None:
    """Import, export, verify, assemble; what does not agree ends it, and the repository is as it was.

    Args:
        shipment: what is asked for.
        say: gets what was found, line by line.
        progress: gets what is being done.

    Raises:
        OSError, ValueError: as `import_file`.
        CheckError: the answers are not the source's.
        ExportError: a step does not come out; `ParityError` where ONNX Runtime does not find what PyTorch finds.
        ServeError: the repository cannot be written.
    """
    replaceable(shipment.repository.resolve(), shipment.force)  # now, not after minutes; so the next one
    if missing := [path for path in shipment.images if not path.exists()]:
        raise FileNotFoundError(f"{missing[0]}: got no such file or folder, expected images; check --images")
    with _workshop(shipment.keep) as folder:
        checkpoint, checked = shipment.source, None
        if not (shipment.source / SPEC_FILE).is_file():
            checkpoint = folder / "checkpoint"
            checked = _import(shipment, checkpoint, say, progress)
        elif (shipment.options, shipment.place, shipment.check) != (ImportOptions(), None, None):
            raise ValueError(
                f"{shipment.source}: got options of an import with a checkpoint, which says all of it; leave them "
                "out, or change its model.json"
            )
        artifact = folder / "artifact"
        export_checkpoint(checkpoint, artifact, report=progress)
        say("export: backbone, proposal and heads as ONNX, checked and run once")
        progress("verify: PyTorch against ONNX Runtime, stage by stage")
        verify(checkpoint, Asked([artifact]), shipment.images, None, "", None)
        if checked is not None:
            progress(f"check: {checked[1].name} against PyTorch and ONNX Runtime")
            with LocalDetector(artifact) as detector:
                run_check(*checked, {"ONNX Runtime": functools.partial(_local_answer, detector)})
        assemble(artifact, shipment.repository, force=shipment.force)
        say(f"assemble: {shipment.repository}")
    if shipment.keep is not None:
        say(f"kept: {', '.join(str(path) for path in sorted(shipment.keep.iterdir()))}")


def _import(shipment: Shipment, checkpoint: Path, say: Say, progress: Say) -> tuple[MaskRCNN, Answers] | None:
    """Write the checkpoint; returns what is to be checked once it is exported."""
    progress(f"import: reading {shipment.source}")
    imported = import_file(shipment.source, shipment.options, shipment.place)
    answers = None if shipment.check is None else answers_of(imported, shipment.check)
    save_model(checkpoint, imported.model)
    for line in imported.report.lines():
        say(f"import: {line}")
    return None if answers is None else (imported.model, answers)


def _local_answer(detector: LocalDetector, image: Pixels) -> Answer:
    """What the artifact finds in one picture, resized, pasted and encoded as in a server."""
    found = detector.detect(image)
    size = list(found.image_size)
    masks = None if found.rle is None else [{"size": size, "counts": counts} for counts in found.rle]
    keypoints = None if found.keypoints is None else found.keypoints[..., :2]
    return Answer(found.boxes, found.scores, found.labels.astype(np.int64), masks, keypoints)


@contextlib.contextmanager
def _workshop(keep: Path | None) -> Iterator[Path]:
    """The folder for checkpoint and artifact, new where it is to stay."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="maskline-ship-") as scratch:
            yield Path(scratch)
        return
    refuse_existing(keep, ValueError)
    with whole_folder(keep, ValueError) as folder:
        yield folder
