"""ModelSpec and its parts, as frozen dataclasses: a part a file.

A checkpoint, an artifact and a served model repository all carry it as JSON (`model.json`, `manifest.json`).
Conventions in which code bases differ are fields here and are honoured by training, export and serving alike.
"""

from maskline_train.spec.backbone import FIRST_LEVEL, STRIDES, BackboneSpec
from maskline_train.spec.group_norm import NUM_GROUPS, HeadNorm
from maskline_train.spec.heads import BoxHeadSpec, KeypointHeadSpec, MaskHeadSpec, PasteRule
from maskline_train.spec.model import FORMAT, ModelSpec
from maskline_train.spec.preprocessing import CANVAS_MULTIPLE, PreprocessingSpec
from maskline_train.spec.proposals import AnchorSpec, ProposalSpec, RPNHeadSpec
from maskline_train.spec.roi_align import RoIAlignSpec

__all__ = [
    "CANVAS_MULTIPLE",
    "FIRST_LEVEL",
    "FORMAT",
    "NUM_GROUPS",
    "STRIDES",
    "AnchorSpec",
    "BackboneSpec",
    "BoxHeadSpec",
    "HeadNorm",
    "KeypointHeadSpec",
    "MaskHeadSpec",
    "ModelSpec",
    "PasteRule",
    "PreprocessingSpec",
    "ProposalSpec",
    "RPNHeadSpec",
    "RoIAlignSpec",
]
