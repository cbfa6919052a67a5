"""ModelSpec: everything that must be known to rebuild a model and to feed it, and its JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from maskline_train.spec.backbone import BackboneSpec
from maskline_train.spec.from_json import build, check
from maskline_train.spec.heads import BoxHeadSpec, KeypointHeadSpec, MaskHeadSpec, PasteRule
from maskline_train.spec.preprocessing import CANVAS_MULTIPLE, PreprocessingSpec
from maskline_train.spec.proposals import AnchorSpec, ProposalSpec, RPNHeadSpec
from maskline_train.spec.roi_align import RoIAlignSpec

FORMAT = "maskline-model/1"


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A whole Mask R-CNN: architecture, classes, conventions, preprocessing.

    Class index k in 0..K-1 is `classes[k]`, everywhere (training targets, artifact, wire); -1 is padding.

    `pixel_boxes`: the corners of a detection are its first and its last pixel, so that its width is x1 - x0 + 1, as in
    Detectron, maskrcnn-benchmark and mmdetection 1.x; anchors are `anchors.cells_px` then. docs/architecture.md, "Boxes
    of first and last pixels", has what follows from it.
    """

    classes: tuple[str, ...]
    preprocessing: PreprocessingSpec = PreprocessingSpec()
    backbone: BackboneSpec = BackboneSpec()
    anchors: AnchorSpec = AnchorSpec()
    rpn_head: RPNHeadSpec = RPNHeadSpec()
    proposals: ProposalSpec = ProposalSpec()
    roi_align: RoIAlignSpec = RoIAlignSpec()
    box_head: BoxHeadSpec = BoxHeadSpec()
    mask_head: MaskHeadSpec | None = MaskHeadSpec()  # None: boxes only (Faster R-CNN with RoIAlign)
    keypoint_head: KeypointHeadSpec | None = None
    pixel_boxes: bool = False

    def __post_init__(self) -> None:
        check(len(self.classes) > 0, "classes", self.classes, "at least one name")
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        check(not twice, "classes", twice, "each name once")
        for name in self.classes:
            good = name.strip() == name != "" and len(name.splitlines()) == 1
            check(good, "classes", name, "a name without surrounding space on one line, as labels.txt holds it")
        self._check_anchors()
        self._check_pyramid()
        fits = not self.anchors.stride_of_cells or self.backbone.features == "fpn"
        check(fits, "anchors.stride_of_cells", True, 'False but for backbone.features "fpn": it is P6 that differs')
        fits = self.mask_head is None or self.mask_head.kind != "res5" or self.backbone.features == "c4"
        check(fits, "mask_head.kind", "res5", 'backbone.features "c4", whose heads hold the fifth stage')
        fits = self.box_head.num_convs == 0 or self.backbone.features != "c4"
        expected = '0 with backbone.features "c4", whose box head is the fifth stage'
        check(fits, "box_head.num_convs", self.box_head.num_convs, expected)

    def _check_anchors(self) -> None:
        """Raise ValueError where anchors are not for the levels, or not of this model's kind of boxes."""
        sizes, cells, levels = self.anchors.sizes_px, self.anchors.cells_px, len(self.backbone.rpn_levels)
        if cells is None:
            check(not self.pixel_boxes, "pixel_boxes", True, "False without anchors.cells_px, which say their pixels")
            check(len(sizes) % levels == 0, "anchors.sizes_px", sizes, f"the same number for each of {levels} level(s)")
            return
        check(self.pixel_boxes, "anchors.cells_px", cells, "null without pixel_boxes")
        check(len(cells) == levels, "anchors.cells_px", cells, f"the anchors of each of {levels} level(s)")

    def _check_pyramid(self) -> None:
        """Raise ValueError where the pyramid's levels would not be halves of each other on every canvas."""
        multiple = self.preprocessing.side_multiple
        good = self.backbone.features != "fpn" or multiple % CANVAS_MULTIPLE == 0
        expected = (
            f'a multiple of {CANVAS_MULTIPLE} for backbone.features "fpn", whose levels are added at twice the size'
        )
        check(good, "preprocessing.canvas_multiple", multiple, expected)

    @property
    def num_classes(self) -> int:
        """K, the number of foreground classes."""
        return len(self.classes)

    @property
    def paste(self) -> PasteRule:
        """How masks become pixels; without masks no matter."""
        return "aligned" if self.mask_head is None else self.mask_head.paste

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict with a `format` entry, the inverse of `from_dict`."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ModelSpec:
        """Rebuild a spec.

        Raises:
            ValueError: another format, an unknown or missing key, or a value of the wrong type; the text names
                the key.
        """
        rest = dict(data)
        found = rest.pop("format", None)
        if found != FORMAT:
            raise ValueError(f"model spec: got format {found!r}, expected {FORMAT!r}; re-create it with this release")
        return build(ModelSpec, rest, "model")

    def save(self, path: Path) -> None:
        """Write the spec as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def load(path: Path) -> ModelSpec:
        """Read what `save` wrote.

        Raises:
            ValueError: not JSON, or not a spec of this format.
            FileNotFoundError: no such file.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of thousands of digits; too deep
            raise ValueError(f"{path}: not JSON ({error}); expected a model.json written by maskline-train") from error
        if not isinstance(data, dict):
            raise ValueError(f"{path}: got a JSON {type(data).__name__}, expected an object")
        return ModelSpec.from_dict(data)
