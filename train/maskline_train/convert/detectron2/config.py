"""detectron2's config: plain YAML, as `cfg.dump()` writes it, or hand-written with a `_BASE_`.

Ref: detectron2/config/defaults.py for names and defaults, configs/Base-RCNN-*.yaml for those of the model zoo.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from maskline_train.convert.architecture import Features

Values = Mapping[str, Any]

_BASE = "_BASE_"
_DEEPEST, MOST_SETTINGS = 8, 10_000  # parts in parts, and settings: detectron2 has 4 and 200
_WANTED = "give the config.yaml that detectron2 wrote beside the weights"

# What the model zoo's bases have in common, by the names that an import reads, then what each of them changes.
_ZOO: dict[str, Any] = {
    "INPUT.FORMAT": "BGR",
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    "MODEL.ANCHOR_GENERATOR.NAME": "DefaultAnchorGenerator",
    "MODEL.ANCHOR_GENERATOR.OFFSET": 0.0,
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32, 64, 128, 256, 512]],
    "MODEL.BACKBONE.FREEZE_AT": 2,
    "MODEL.FPN.FUSE_TYPE": "sum",
    "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
    "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": 0,
    "MODEL.RESNETS.NORM": "FrozenBN",
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": [10.0, 10.0, 5.0, 5.0],
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": False,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.5,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.05,
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.RPN.BBOX_REG_WEIGHTS": [1.0, 1.0, 1.0, 1.0],
    "MODEL.RPN.NMS_THRESH": 0.7,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "TEST.DETECTIONS_PER_IMAGE": 100,
}
_ZOO_CHANGES: dict[Features, dict[str, Any]] = {
    "fpn": {
        "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
        "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
    },
    "c4": {"MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14},
    "dc5": {},
}


# What the zoo's configs change from one body to the next.
OF_THE_BODY = ("MODEL.RESNETS.NORM", "MODEL.RESNETS.STRIDE_IN_1X1", "MODEL.PIXEL_STD")


def zoo_values(features: Features) -> dict[str, Any]:
    """What the model zoo's configs with these features say of inference."""
    return {**_ZOO, **_ZOO_CHANGES[features]}


def checked(given: Values, zoo: Values, lists: Collection[str] = ()) -> Values:
    """A config whose settings are of the kinds of the zoo's.

    Args:
        given: the config.
        zoo: a usual value of each.
        lists: those that may have more or fewer numbers than the usual one.

    Raises:
        ValueError: a word where a number is expected, and the like; the text names the setting.
    """
    for name, usual in zoo.items():
        # Numbers of channels, or of a box.
        fixed = isinstance(usual, list) and not isinstance(usual[0], list) and name not in lists
        if name in given and not (_of_kind(given[name], usual) and (not fixed or len(given[name]) == len(usual))):
            raise ValueError(f"config: {name} is {given[name]!r}, expected something like {usual!r}")
    return given


def _of_kind(value: object, usual: object) -> bool:
    if isinstance(usual, list):
        return isinstance(value, list | tuple) and len(value) > 0 and all(_of_kind(each, usual[0]) for each in value)
    if isinstance(usual, bool | str):
        return type(value) is type(usual)
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_config(path: Path) -> dict[str, Any]:
    """A config's settings by their full names, e.g. `MODEL.RPN.NMS_THRESH`; a base's first, then its own.

    Raises:
        FileNotFoundError: no such file, or its base is not beside it.
        ValueError: no YAML of settings, or one that would run Python.
    """
    return _read(path, ())


def _read(path: Path, read: tuple[Path, ...]) -> dict[str, Any]:
    """`read_config` of a config that the others are based on."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, expected detectron2's config.yaml; give the file in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected detectron2's config.yaml")
    if path.resolve() in read:
        raise ValueError(f"{path}: is its own {_BASE}; {_WANTED}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.constructor.ConstructorError as error:
        raise ValueError(f"{path}: asks for Python code ({error.problem}), which is not run; {_WANTED}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date of month 13 is a ValueError
        line = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{path}: not YAML ({line}); {_WANTED}") from error
    base = content.pop(_BASE, None) if isinstance(content, dict) else None
    own = list(itertools.islice(flat(content), MOST_SETTINGS + 1))
    lazy = any("_target_" in name.split(".") for name, _ in own)
    if not isinstance(content, dict) or len(own) > MOST_SETTINGS or lazy:
        raise ValueError(f"{path}: no config of settings such as MODEL.MASK_ON (a LazyConfig is code); {_WANTED}")
    values = {} if base is None else _read(_base_of(path, base), (*read, path.resolve()))
    return values | dict(own)


def _base_of(path: Path, base: object) -> Path:
    found = path.parent / str(base)
    if not found.is_file():
        raise FileNotFoundError(f"{path}: its base {base} is not there; {_WANTED}, which has all settings")
    return found


def flat(content: Any, before: str = "", depth: int = _DEEPEST) -> Iterator[tuple[str, Any]]:
    """Settings by their full names. YAML can share and nest a part without end, so depth and number are bounded."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if isinstance(value, dict) and depth > 0:
            yield from flat(value, f"{before}{key}.", depth - 1)
        else:
            yield f"{before}{key}", value
