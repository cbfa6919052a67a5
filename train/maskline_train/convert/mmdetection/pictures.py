"""How mmdetection prepares a picture: the test pipeline of a config, of 2.x and 3.x, as settings of one kind.

Ref: mmdet/datasets/transforms and models/data_preprocessors of 3.3.0 (3.x: the model normalises and pads);
mmdet/datasets/pipelines of 2.28.2 (2.x: the pipeline does, inside of `MultiScaleFlipAug`).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from maskline_train.convert.mmdetection.config import Values

Step = dict[str, Any]

# Steps that change no pixel, of both generations.
_NO_PIXEL = {
    "LoadAnnotations",
    "PackDetInputs",
    "ImageToTensor",
    "DefaultFormatBundle",
    "Collect",
}
_OLDER = {
    "RandomFlip",
    "Normalize",
    "Pad",
}  # of 2.x: switched off by `MultiScaleFlipAug`, and what the model does in 3.x
_LOADERS = ("LoadImageFromFile", "LoadImageFromWebcam", "InferencerLoader", "LoadImageFromNDArray")
_RESIZES: dict[str, Literal["round", "floor"]] = {"Resize": "round", "FixScaleResize": "floor"}


@dataclasses.dataclass(frozen=True)
class Pictures:
    """How pictures become the network's input.

    Attributes:
        shorter, longer: sides, px.
        rule: how they become whole numbers, as `PreprocessingSpec.size_rule`.
        filter: as `PreprocessingSpec.resize_filter`.
        mean, std: of three channels, in the network's own order.
        bgr: that order.
        multiple: that each side of a picture is padded to, with zeros after normalisation.
    """

    shorter: int
    longer: int
    rule: Literal["round", "floor"]
    filter: Literal["cv2", "pillow"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool
    multiple: int


def read_pictures(config: Values) -> Pictures:
    """What a config says of them.

    Raises:
        ValueError: a step that is not supported, or nothing that says the size; the text names it.
    """
    steps = _opened(_pipeline(config))
    preprocessor = config["model"].get("data_preprocessor")
    older = not isinstance(preprocessor, dict)
    for step in steps:
        _check_step(step, older)
    resize = [step for step in steps if _kind(step) in _RESIZES]
    if len(resize) != 1:
        raise ValueError(f"config: the test pipeline has {len(resize)} steps of Resize or FixScaleResize, expected one")
    shorter, longer = _scale(resize[0], older)
    backend = resize[0].get("backend", "cv2")
    if backend not in ("cv2", "pillow"):
        raise ValueError(f"config: Resize.backend is {backend!r}, supported: 'cv2', 'pillow'")
    normalises = _of_steps(steps) if older else preprocessor
    if (value := normalises.get("pad_value", 0)) != 0:
        raise ValueError(f"config: model.data_preprocessor.pad_value is {value!r}, supported: 0")
    mean, std = (_three(name, normalises.get(name), usual) for name, usual in (("mean", 0.0), ("std", 1.0)))
    return Pictures(
        shorter=shorter,
        longer=longer,
        rule=_RESIZES[_kind(resize[0])],
        filter=backend,
        mean=mean,
        std=std,
        bgr=not (normalises.get("bgr_to_rgb", False) or normalises.get("rgb_to_bgr", False)),
        multiple=_multiple(normalises.get("pad_size_divisor", 1)),
    )


def _kind(step: Step) -> str:
    """A class's name, without the package that newer configs put before it."""
    return str(step.get("type", "")).rpartition(".")[2]


def _pipeline(config: Values) -> list[Step]:
    """The steps that test pictures go through: of the loader (3.x), of the data (2.x), or of the list that both use."""
    for path in (("test_dataloader", "dataset"), ("data", "test")):
        part: Any = config
        for name in path:
            part = part.get(name) if isinstance(part, dict) else None
        while isinstance(part, dict) and isinstance(part.get("dataset"), dict):  # a data set around another
            part = part["dataset"]
        if isinstance(part, dict) and part.get("pipeline"):
            return _steps(part["pipeline"])
    return _steps(config.get("test_pipeline"))


def _steps(pipeline: object) -> list[Step]:
    if not isinstance(pipeline, list) or not pipeline or not all(isinstance(step, dict) for step in pipeline):
        raise ValueError(
            "config: says no test pipeline (test_dataloader.dataset.pipeline, data.test.pipeline or test_pipeline), "
            "which has the size of pictures; give the config that mmdetection dumped beside the weights"
        )
    return pipeline


def _opened(steps: list[Step]) -> list[Step]:
    """With the steps of 2.x's `MultiScaleFlipAug` in its place."""
    found: list[Step] = []
    for step in steps:
        if _kind(step) != "MultiScaleFlipAug":
            found.append(step)
            continue
        scale = step.get("img_scale")
        several = len(scale) != 1 if isinstance(scale, list) and scale and isinstance(scale[0], list) else False
        if step.get("flip", False) or several or step.get("scale_factor") is not None:
            raise ValueError(
                f"config: MultiScaleFlipAug has flip {step.get('flip', False)} and img_scale {scale}: answers joined "
                "from several views of a picture are not supported"
            )
        inner = _steps(step.get("transforms"))
        found += [{"scale": scale} | each if _kind(each) in _RESIZES else each for each in inner]
    return found


def _scale(step: Step, older: bool) -> tuple[int, int]:
    """Shorter and longer side; 2.x keeps their ratio unless told otherwise, 3.x only where it is told."""
    scale: Any = step.get("scale", step.get("img_scale"))
    if isinstance(scale, int) and not isinstance(scale, bool):
        scale = [scale, scale]
    if isinstance(scale, list) and len(scale) == 1 and isinstance(scale[0], list):
        scale = scale[0]
    good = isinstance(scale, list) and len(scale) == 2 and all(type(side) is int and side > 0 for side in scale)
    if not good or step.get("scale_factor") is not None:
        raise ValueError(f"config: {_kind(step)} has scale {scale!r}, expected two sides, e.g. (1333, 800)")
    if not step.get("keep_ratio", older):
        raise ValueError(f"config: {_kind(step)}.keep_ratio is False, supported: True")
    if step.get("interpolation", "bilinear") != "bilinear":
        raise ValueError(f"config: {_kind(step)}.interpolation is {step['interpolation']!r}, supported: 'bilinear'")
    return min(scale), max(scale)


def _of_steps(steps: list[Step]) -> Step:
    """What 2.x's steps `Normalize` and `Pad` do, in 3.x's words."""
    found: Step = {}
    for step in steps:
        if _kind(step) == "Normalize":
            if "pad_size_divisor" in found:
                raise ValueError("config: Pad stands before Normalize, so it pads with no zeros; not supported")
            found |= {"mean": step.get("mean"), "std": step.get("std"), "bgr_to_rgb": step.get("to_rgb", True)}
        elif _kind(step) == "Pad":
            found["pad_size_divisor"] = step.get("size_divisor")
    if "mean" not in found:
        raise ValueError(
            "config: has neither model.data_preprocessor (3.x) nor a step Normalize in its test pipeline (2.x), so "
            "mean, std and the order of channels are not known; give the config that belongs to these weights"
        )
    return found


def _check_step(step: Step, older: bool) -> None:
    """Raise for a step that changes pixels in a way that is not supported."""
    kind = _kind(step)
    if kind in _LOADERS and step.get("to_float32", False):
        raise ValueError(f"config: {kind}.to_float32 is True, supported: False (pictures are resized as whole numbers)")
    if kind in _LOADERS and step.get("color_type", "color") != "color":
        raise ValueError(f"config: {kind}.color_type is {step['color_type']!r}, supported: 'color'")
    if kind not in {*_LOADERS, *_RESIZES, *_NO_PIXEL} and not (older and kind in _OLDER):
        raise ValueError(f"config: the test pipeline has a step {kind!r}, which is not supported")
    if kind == "Pad" and (step.get("size") is not None or step.get("pad_to_square", False) or _pad_value(step) != 0):
        raise ValueError(f"config: Pad is {step!r}, supported: size_divisor with zeros")


def _pad_value(step: Step) -> object:
    value = step.get("pad_val", 0)
    return value.get("img", 0) if isinstance(value, dict) else value


def _three(name: str, value: Any, usual: float) -> tuple[float, float, float]:
    if value is None:
        return (usual, usual, usual)
    good = isinstance(value, list) and len(value) == 3
    if not good or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in value):
        raise ValueError(f"config: {name} is {value!r}, expected three numbers")
    return (float(value[0]), float(value[1]), float(value[2]))


def _multiple(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"config: pictures are padded to a multiple of {value!r}, expected a whole number from 1 on")
    return value
