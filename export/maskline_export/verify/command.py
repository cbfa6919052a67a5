"""What `maskline-export verify` does: the parity table on the terminal, in a JSON file and in the manifest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from maskline_command.console import progress, results
from maskline_train.checkpoint import WEIGHTS_FILE, load_model
from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import eval_loader
from maskline_train.distributed import Processes
from maskline_train.evaluation.evaluate import Metrics, Result, evaluate, percent, score, to_results
from maskline_train.files import replace_file
from maskline_train.model.mask_rcnn import Detections, MaskRCNN
from maskline_train.spec import ModelSpec
from rich.table import Table

from maskline_export.errors import ContractError, ParityError
from maskline_export.manifest import Manifest, load_artifact, sha256
from maskline_export.verify.compare import StageRow
from maskline_export.verify.images import ladder_images, named_images
from maskline_export.verify.onnx_runtime import OnnxPipeline
from maskline_export.verify.parity_table import parity_table
from maskline_export.verify.rows import ParityReport
from maskline_export.verify.stages_verifier import verify

MAX_LISTED_IMAGES = 16  # of a dataset, for the stage table; the AP uses them all


def run(
    checkpoint: Path, artifact: Path, images: list[Path], data: Path | None, split: str, json_path: Path | None
) -> None:
    """Compare, print the tables, and write the report into the manifest and, where asked, a JSON file.

    Raises:
        ParityError: a stage deviates, or the artifact was exported from other weights; reports are written first.
        ContractError: the artifact is damaged or typed, or checkpoint, images or data cannot be read.
    """
    manifest = load_artifact(artifact)
    check_float32(artifact, manifest)
    try:
        model = load_model(checkpoint).eval()
        sources = list(_sources(images, data, split, model))
    except ValueError as error:
        raise ContractError(str(error)) from error
    _check_same_weights(checkpoint, manifest)
    if data is not None:
        dataset_of(data, split, model.spec)  # a wrong one is refused before minutes of comparing
    with progress() as bar:
        task = bar.add_task("PyTorch against ONNX Runtime", total=len(sources))
        report = verify(model, artifact, manifest, (pixels for _, pixels in sources), lambda: bar.advance(task))
    result: dict[str, Any] = report.to_dict() | {"image_names": [name for name, _ in sources]}
    if data is not None:
        result["ap"] = average_precision(model, artifact, data, split)
    dataclasses.replace(manifest, parity=result).save(artifact)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(json_path, (json.dumps(result, indent=2) + "\n").encode())
    console = results()
    console.print(parity_table("PyTorch against ONNX Runtime", report.rows))
    if data is not None:
        console.print(ap_table(result["ap"]))
    if report.first_deviation is not None:
        raise ParityError(_advice(report))
    console.print(
        f"Every stage agrees on {report.num_images} images, {report.num_detections} detections.", style="green"
    )


def ap_table(ap: dict[str, dict[str, Any]]) -> Table:
    """AP of both sides, in points of 100."""
    names = list(next(iter(ap.values()))["box"])
    table = Table(title="Average precision, points of 100")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for side, kinds in ap.items():
        for kind, values in kinds.items():
            table.add_row(f"{side} {kind}", *(percent(values[name]) if name in values else "" for name in names))
    return table


def average_precision(model: MaskRCNN, artifact: Path, data: Path, split: str) -> dict[str, dict[str, Any]]:
    """{"pytorch": {"box": {"AP": ..}, "mask": {..}}, "onnx": {..}} on the same images, for what the model answers."""
    dataset = dataset_of(data, split, model.spec)
    sides = {
        "pytorch": evaluate(model, dataset, Processes(0, 1, torch.device("cpu")), batch=1),
        "onnx": onnx_metrics(artifact, dataset, model.spec),
    }
    return {side: metrics.kinds() for side, metrics in sides.items()}


def onnx_metrics(artifact: Path, dataset: CocoDataset, spec: ModelSpec) -> Metrics:
    """AP of an artifact's stages in ONNX Runtime, one image at a time as a request brings them."""
    pipeline = OnnxPipeline(artifact)
    results: list[Result] = []
    for batch in eval_loader(dataset, spec.preprocessing, batch_size=1):
        raw = pipeline.detect(batch.canvas.numpy(), batch.image_info.numpy())
        found = Detections(
            boxes=torch.from_numpy(raw.boxes),
            scores=torch.from_numpy(raw.scores),
            labels=torch.from_numpy(raw.labels.astype(np.int64)),
            num_detections=torch.from_numpy(raw.num_detections[:, 0].astype(np.int64)),
            masks=None if raw.masks is None else torch.from_numpy(raw.masks),
            keypoints=None if raw.keypoints is None else torch.from_numpy(raw.keypoints),
        )
        results += to_results(found, batch.image_info.numpy(), batch.image_ids, dataset.category_ids, spec.paste)[0]
    return score(
        dataset, results, dataset.image_ids, masks=spec.mask_head is not None, keypoint_head=spec.keypoint_head
    )


def _sources(
    images: list[Path], data: Path | None, split: str, model: MaskRCNN
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """The images of the stage table: named ones, else the dataset's first, else the ladder; the ladder always last."""
    if images:
        yield from named_images(images)
        return
    if data is not None:
        dataset = dataset_of(data, split, model.spec)
        for index in range(min(len(dataset), MAX_LISTED_IMAGES)):
            yield dataset[index].file_name, dataset.image(index)
    yield from ladder_images(model.spec.preprocessing.shorter_side_px)


def dataset_of(data: Path, split: str, spec: ModelSpec) -> CocoDataset:
    """The images of a COCO-format folder with what the model answers: instances, or persons with keypoints.

    Raises:
        ContractError: its classes are not the model's.
    """
    dataset = CocoDataset(data, split, "instances" if spec.keypoint_head is None else "person_keypoints")
    if dataset.classes != spec.classes:
        found, expected = ", ".join(dataset.classes[:5]), ", ".join(spec.classes[:5])
        raise ContractError(f"{data}: got the classes {found}, expected the model's: {expected}")
    return dataset


def check_float32(artifact: Path, manifest: Manifest) -> None:
    """Refuse a typed artifact: the limits are those of float32, and a typed stage is further off by design.

    Raises:
        ContractError: it is typed.
    """
    if manifest.precision != "fp32":
        raise ContractError(
            f"{artifact}: got precision {manifest.precision}, expected fp32, which the limits of `verify` are for; "
            "verify the artifact that it was made of, which `maskline-export onnx` wrote"
        )


def _check_same_weights(checkpoint: Path, manifest: Manifest) -> None:
    found = sha256(checkpoint / WEIGHTS_FILE)
    if found != manifest.checkpoint_sha256:
        expected = manifest.checkpoint_sha256
        raise ParityError(
            f"{checkpoint}: got weights {found[:12]}, expected {expected[:12]}, from which the artifact was exported; "
            "run `maskline-export onnx` again"
        )


def _advice(report: ParityReport) -> str:
    row: StageRow = next(row for row in report.rows if not row.ok)
    return (
        f"first stage that deviates: {row.stage}: max error {row.max_error:.3g} {row.unit}, limit {row.limit:.3g}, "
        f"matched {100 * row.matched:.1f} % (at least {100 * row.min_matched:.0f} %); the stages before it agree, "
        "so look at this one; if the checkpoint changed, run `maskline-export onnx` again"
    )
