"""What `maskline-export verify` does: the tables on the terminal, in a JSON file and beside the manifests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from maskline_command.console import progress, results
from maskline_command.output_files import refuse_unwritable
from maskline_train.checkpoint import WEIGHTS_FILE, load_model
from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.ground_truth import dataset_of
from maskline_train.files import replace_file
from maskline_train.spec import ModelSpec
from rich.console import Console

from maskline_export.errors import ContractError, ParityError
from maskline_export.manifest import PARITY_FILE, Manifest, load_artifact, sha256
from maskline_export.verify.average_precision import Ap, ap_table, average_precision, picture_of
from maskline_export.verify.comparison import compare
from maskline_export.verify.images import ladder_images, named_images
from maskline_export.verify.lines.choose import Asked, lines_of
from maskline_export.verify.lines.found import Picture
from maskline_export.verify.parity_table import lines_table, parity_table
from maskline_export.verify.rows import ParityReport

MAX_LISTED_IMAGES = 16  # of a dataset, for the stage tables; the AP uses them all


def run(
    checkpoint: Path, asked: Asked, images: Sequence[Path], data: Path | None, split: str, json_path: Path | None
) -> None:
    """Compare, print the tables, and write the reports into the artifacts' folders and, where asked, a JSON file.

    Raises:
        ParityError: a line deviates, or an artifact was exported from other weights; reports are written first.
        ContractError: an artifact is damaged, a line cannot run here, or checkpoint, images or data cannot be read.
        OSError: the JSON file cannot be written.
    """
    refuse_unwritable(json_path)
    manifests = [load_artifact(folder) for folder in asked.artifacts]
    try:
        model = load_model(checkpoint).eval()
        dataset = None if data is None else dataset_of(data, split, model.spec)
        pictures = list(_pictures(images, dataset, model.spec))
    except ValueError as error:
        raise ContractError(str(error)) from error
    for folder, manifest in zip(asked.artifacts, manifests, strict=True):
        _check_same_weights(checkpoint, folder, manifest)
    lines = lines_of(asked, manifests)
    ap: Ap | None = None
    with progress() as bar:
        task = bar.add_task("PyTorch against the others", total=len(pictures))
        reports = compare(model, lines, pictures, lambda: bar.advance(task))
        if dataset is not None:
            task = bar.add_task("average precision", total=len(lines) + 1)
            answers = {line.title: line.answer for line in lines}
            ap = average_precision(model, answers, dataset, lambda: bar.advance(task))
    _write(asked, reports, ap, [picture.name for picture in pictures], json_path)
    _show(reports, ap, results())
    if any(report.first_deviation is not None for report in reports):
        raise ParityError(_advice(reports))


def _write(
    asked: Asked, reports: Sequence[ParityReport], ap: Ap | None, names: list[str], json_path: Path | None
) -> None:
    """Each artifact's own report beside its manifest; all of them, the first one at the top, into the JSON file."""
    rest = {"image_names": names}
    per_artifact = 2 if asked.library else 1  # lines: `lines_of` gives those by bodies first
    for index, folder in enumerate(asked.artifacts):
        _write_json(folder / PARITY_FILE, reports[per_artifact * index].to_dict() | rest)
    if json_path is None:
        return
    whole: dict[str, Any] = reports[0].to_dict() | rest
    if len(reports) > 1:
        whole["further_lines"] = [report.to_dict() for report in reports[1:]]
    if ap is not None:
        whole["ap"] = ap
    json_path.parent.mkdir(parents=True, exist_ok=True)
    _write_json(json_path, whole)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    replace_file(path, (json.dumps(data, indent=2) + "\n").encode())


def _show(reports: Sequence[ParityReport], ap: Ap | None, console: Console) -> None:
    for report in reports:
        console.print(parity_table(f"PyTorch against {report.title}", report.rows))
        for row in report.rows:
            if row.near_ties:
                more = "" if row.near_ties <= len(row.reasons) else ", ..."
                told = f"near-ties left out of {row.stage}: {row.near_ties}: {'; '.join(row.reasons)}{more}"
                console.print(told, style="dim", soft_wrap=True)
    if len(reports) > 1:
        console.print(lines_table(reports))
    if ap is not None:
        console.print(ap_table(ap))
    if all(report.first_deviation is None for report in reports):
        first = reports[0]
        every = "Every stage" if len(reports) == 1 else f"Every stage of {len(reports)} lines"
        console.print(f"{every} agrees on {first.num_images} images, {first.num_detections} detections.", style="green")


def _pictures(images: Sequence[Path], dataset: CocoDataset | None, spec: ModelSpec) -> Iterator[Picture]:
    """The pictures of the stage tables: named ones; else the dataset's first and the ladder; else the ladder."""
    if images:
        for path, pixels in named_images(images):
            yield Picture.of(path.name, pixels, spec, path)
        return
    if dataset is not None:
        for index in range(min(len(dataset), MAX_LISTED_IMAGES)):
            yield picture_of(dataset, index, spec)
    for name, pixels in ladder_images(spec.preprocessing.shorter_side_px):
        yield Picture.of(name, pixels, spec)


def check_float32(artifact: Path, manifest: Manifest) -> None:
    """Refuse a typed artifact where the reference must be float32.

    Raises:
        ContractError: it is typed.
    """
    if manifest.precision != "fp32":
        raise ContractError(
            f"{artifact}: got precision {manifest.precision}, expected fp32, the reference of engines; name the "
            "artifact that it was made of, which `maskline-export onnx` wrote"
        )


def _check_same_weights(checkpoint: Path, artifact: Path, manifest: Manifest) -> None:
    found = sha256(checkpoint / WEIGHTS_FILE)
    if found != manifest.checkpoint_sha256:
        expected = manifest.checkpoint_sha256
        raise ParityError(
            f"{checkpoint}: got weights {found[:12]}, expected {expected[:12]}, from which {artifact} was exported; "
            "run `maskline-export onnx` again"
        )


def _advice(reports: Sequence[ParityReport]) -> str:
    """The first deviation of each line that has one, and what to do."""
    texts = []
    for report in reports:
        row = next((row for row in report.rows if not row.ok), None)
        if row is not None:
            matched = f", matched {100 * row.matched:.1f} % (at least {100 * row.min_matched:.0f} %)"
            texts.append(
                f"{report.title}: first stage that deviates: {row.stage}: max error {row.max_error:.3g} {row.unit}, "
                f"limit {row.limit:.3g}{matched if row.min_matched else ''}"
            )
    return f"{'; '.join(texts)}; the stages before it agree, so look at this one"
