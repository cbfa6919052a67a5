"""A file of weights of whatever framework as a model of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maskline_train.convert.detectron.convert import CONFIG, import_detectron
from maskline_train.convert.detectron2.convert import import_detectron2
from maskline_train.convert.frameworks import Framework, recognise
from maskline_train.convert.maskrcnn_benchmark.convert import import_maskrcnn_benchmark
from maskline_train.convert.mmdetection.convert import import_mmdetection
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.reading.foreign_file import ForeignWeights, read_foreign
from maskline_train.convert.report import Imported
from maskline_train.convert.torchvision_weights import import_from_torchvision

_IMPORTS: dict[Framework, Callable[[ForeignWeights, ImportOptions], Imported]] = {
    "detectron": lambda weights, options: import_detectron(weights.tensors, options, weights.around.get(CONFIG)),
    "detectron2": lambda weights, options: import_detectron2(weights.tensors, options),
    "maskrcnn_benchmark": lambda weights, options: import_maskrcnn_benchmark(weights.tensors, options),
    "mmdetection": lambda weights, options: import_mmdetection(weights.tensors, options, weights.around),
    "torchvision": lambda weights, options: import_from_torchvision(weights.tensors, options),
}
_READ_TOO = (CONFIG, "meta")  # Detectron's config; mmdetection's, and class names


def import_file(path: Path, options: ImportOptions, place: str | None = None, framework: str | None = None) -> Imported:
    """Read a file, recognise the framework, convert.

    Args:
        path: see `read_foreign`.
        options: what the user says.
        place: which of several state dicts in the file.
        framework: what it is expected to be of; None takes any.

    Raises:
        OSError: a file cannot be read.
        ValueError: one line that names the file and says what is wrong or missing.
    """
    weights = read_foreign(path, place)
    try:
        found = recognise(weights.tensors)
        if framework not in (None, found):
            raise ValueError(f"got weights of {found}, expected {framework}; use from_{found}")
        imported = _IMPORTS[found](weights, options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _tell(weights, options, imported)
    return imported


def _tell(weights: ForeignWeights, options: ImportOptions, imported: Imported) -> None:
    """What was around the weights, and what the user has set."""
    report = imported.report
    if weights.place:
        report.found.append(f"the weights are the file's {weights.place!r}")
    if weights.prefix:
        report.found.append(f"all names began with {weights.prefix!r}, which is gone")
    if beside := [name for name in weights.around if name not in _READ_TOO]:
        report.left_out.append(f"{', '.join(beside)} of the file")
    report.found.extend(f"set: {name} = {value}" for name, value in options.settings.items())
