"""From another framework's network to a detector in this process, in one call."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from maskline_client import LocalDetector
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_train.checkpoint import save_model
from maskline_train.convert.file import import_file
from maskline_train.convert.options import ChannelOrder, ImportOptions
from maskline_train.convert.report import Imported
from maskline_train.convert.torchvision_module import import_torchvision_module
from torch import nn

Device = Literal["cpu", "cuda"]
_log = logging.getLogger("maskline")


def from_detectron2(
    weights: str | Path,
    config: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    keypoints: Sequence[str] | None = None,
    channels: ChannelOrder | None = None,
    zoo_settings: bool = False,
    settings: Mapping[str, Any] | None = None,
    artifact: str | Path | None = None,
    device: Device = "cpu",
) -> LocalDetector:
    """A detector with the answers of a network that detectron2 trained; nothing that is in its files is run.

    Args:
        weights: `.pth` or `.pkl`.
        config: the `config.yaml` beside it.
        classes: names in the order of training; None: COCO's, where the config trains on COCO.
        keypoints: names of the J keypoints; None: COCO's, of 17.
        channels: the order in training, if the config is wrong.
        zoo_settings: without a config, the settings of detectron2's model zoo.
        settings: fields of the ModelSpec, e.g. `{"box_head.score_thresh": 0.3}`.
        artifact: a folder to keep what is made in, for `LocalDetector(artifact)` the next time or
            `maskline-serve assemble`; None keeps nothing.
        device: see `LocalDetector`.

    Returns:
        A detector: `.detect(image)`. Close it, or use it in a `with`. What was assumed, and where answers differ, is
        logged as warnings of the logger `maskline`.

    Raises:
        OSError, ValueError: a file is missing or damaged, or something that matters is not known; the text says what
            to give.
    """
    options = _options(config, classes, keypoints, channels, zoo_settings, settings)
    return _opened(import_file(Path(weights), options, framework="detectron2"), artifact, device)


def from_mmdetection(
    weights: str | Path,
    config: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    channels: ChannelOrder | None = None,
    settings: Mapping[str, Any] | None = None,
    artifact: str | Path | None = None,
    device: Device = "cpu",
) -> LocalDetector:
    """A detector with the answers of a network that mmdetection 2.x or 3.x trained; nothing in its files is run.

    Args:
        weights: `.pth`, of training or published.
        config: a dumped `config.py`, where the file has none inside or another one counts.
        classes: names in the order of training; None: the file's own.
        channels: the order in training, if the config is wrong.
        settings: as `from_detectron2`.
        artifact: as `from_detectron2`.
        device: as `from_detectron2`.

    Returns:
        As `from_detectron2`.

    Raises:
        OSError, ValueError: as `from_detectron2`.
    """
    options = _options(config, classes, None, channels, False, settings)
    return _opened(import_file(Path(weights), options, framework="mmdetection"), artifact, device)


def from_maskrcnn_benchmark(
    weights: str | Path,
    config: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    keypoints: Sequence[str] | None = None,
    channels: ChannelOrder | None = None,
    zoo_settings: bool = False,
    settings: Mapping[str, Any] | None = None,
    artifact: str | Path | None = None,
    device: Device = "cpu",
) -> LocalDetector:
    """`from_detectron2` for a `.pth` of maskrcnn-benchmark, or of NVIDIA's Mask R-CNN, and its YAML."""
    options = _options(config, classes, keypoints, channels, zoo_settings, settings)
    return _opened(import_file(Path(weights), options, framework="maskrcnn_benchmark"), artifact, device)


def from_detectron(
    weights: str | Path,
    config: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    keypoints: Sequence[str] | None = None,
    channels: ChannelOrder | None = None,
    zoo_settings: bool = False,
    settings: Mapping[str, Any] | None = None,
    artifact: str | Path | None = None,
    device: Device = "cpu",
) -> LocalDetector:
    """`from_detectron2` for a `.pkl` of Detectron; `config`: another than that in the file, or one of detectron2."""
    options = _options(config, classes, keypoints, channels, zoo_settings, settings)
    return _opened(import_file(Path(weights), options, framework="detectron"), artifact, device)


def from_torchvision(
    network: str | Path | nn.Module,
    *,
    classes: Sequence[str] | None = None,
    keypoints: Sequence[str] | None = None,
    norm_eps: float | None = None,
    settings: Mapping[str, Any] | None = None,
    artifact: str | Path | None = None,
    device: Device = "cpu",
) -> LocalDetector:
    """A detector with the answers of a network of torchvision.

    Args:
        network: the network itself, e.g. `maskrcnn_resnet50_fpn(weights="DEFAULT")`, whose settings are read from it;
            or a file of its weights, which say none.
        classes: names of the labels 1, 2, ...; None: COCO's, of a network with its 90 labels.
        keypoints: names of the J keypoints; None: COCO's, of 17.
        norm_eps: for a file, what its batch norms add to the variance; asked for where it is not known.
        settings: as `from_detectron2`.
        artifact: as `from_detectron2`.
        device: as `from_detectron2`.

    Returns:
        As `from_detectron2`.

    Raises:
        OSError, ValueError: as `from_detectron2`.
    """
    options = ImportOptions(
        classes=_names(classes), keypoints=_names(keypoints), norm_eps=norm_eps, settings=settings or {}
    )
    if isinstance(network, nn.Module):
        return _opened(import_torchvision_module(network, options), artifact, device)
    return _opened(import_file(Path(network), options, framework="torchvision"), artifact, device)


def _options(
    config: str | Path | None,
    classes: Sequence[str] | None,
    keypoints: Sequence[str] | None,
    channels: ChannelOrder | None,
    zoo_settings: bool,
    settings: Mapping[str, Any] | None,
) -> ImportOptions:
    """What a user says of a file with a config beside it."""
    return ImportOptions(
        config=None if config is None else Path(config),
        classes=_names(classes),
        keypoints=_names(keypoints),
        channels=channels,
        zoo=zoo_settings,
        settings=settings or {},
    )


def _names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(given, str):
        raise ValueError(f"names: got the text {given!r}, expected a list of names, e.g. {given.split(',')}")
    return None if given is None else tuple(given)


def _opened(imported: Imported, artifact: str | Path | None, device: Device) -> LocalDetector:
    """Export the model and open what comes out."""
    for line in imported.report.found + imported.report.left_out:
        _log.info("%s", line)
    for line in imported.report.assumed + imported.report.differs:
        _log.warning("%s", line)
    with tempfile.TemporaryDirectory(prefix="maskline-import-") as scratch:
        checkpoint = Path(scratch) / "checkpoint"
        save_model(checkpoint, imported.model)
        folder = Path(scratch) / "artifact" if artifact is None else Path(artifact)
        export_checkpoint(checkpoint, folder)
        return LocalDetector(folder, device=device)
