"""What one image's answer is to a user.

Letters: N objects found (at most D, the server's detections an image), J keypoints, H W the original image.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline_client import rle as rle_codec
from maskline_client.preview import preview_png
from maskline_client.served_model import UNKNOWN_MODEL, ModelIdentity

PIXEL_CENTRE = 0.5  # from a pixel's index, as COCO writes keypoints, to continuous pixels
_NO_MASKS = (
    "masks: got objects of a model for boxes alone, expected masks; ask `rle is None` first, or serve a mask model"
)


@dataclasses.dataclass(frozen=True, repr=False)
class Detection:
    """One object.

    Attributes:
        box: [4] float32 xyxy, px of the original image.
        score: 0..1.
        label: class index.
        name: class name.
        rle: COCO compressed counts at the original size; None of a model without masks.
        image_size: (height, width).
        keypoints: [J, 3] float32 x, y, score, as in `Detections`; None of a model without keypoints.
        keypoint_names: J names.
    """

    box: npt.NDArray[np.float32]
    score: float
    label: int
    name: str
    rle: bytes | None
    image_size: tuple[int, int]
    keypoints: npt.NDArray[np.float32] | None = None
    keypoint_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line: class, score, box in px."""
        return f"Detection({self.name} {self.score:.2f}, box {' '.join(f'{side:.1f}' for side in self.box)})"

    def mask(self) -> npt.NDArray[np.bool_]:
        """[H, W] bool; ValueError where the model has no masks."""
        return rle_codec.to_mask(self._known_rle(), self.image_size)

    def area(self) -> int:
        """Pixels of the mask; ValueError where the model has no masks."""
        return rle_codec.area(self._known_rle())

    def coco_keypoints(self) -> list[float] | None:
        """x, y, score of each keypoint, as COCO's results have them: 3J numbers; None where there are none.

        x and y are pixel indices: 0 is the centre of the first pixel, which is 0.5 in `keypoints`.
        """
        if self.keypoints is None:
            return None
        indices = self.keypoints - np.array([PIXEL_CENTRE, PIXEL_CENTRE, 0], np.float32)
        return [float(value) for value in indices.ravel()]

    def _known_rle(self) -> bytes:
        """The mask's counts, or ValueError."""
        if self.rle is None:
            raise ValueError(_NO_MASKS)
        return self.rle


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The objects of one image, best score first; all fields have N rows, N may be 0.

    Attributes:
        boxes: [N, 4] float32 xyxy in continuous pixels of the original image (after EXIF orientation), x0 <= x1.
        scores: [N] float32, 0..1.
        labels: [N] int32 class index.
        names: class name of each object.
        rle: COCO compressed counts of each object's mask at the original size; None of a model for boxes alone.
        image_size: (height, width) of the original image, px.
        keypoints: [N, J, 3] float32: x, y in continuous pixels of the original image, and a score, which the model
            decides: the probability of the heatmap's cell, or, of networks of torchvision, a logit, which may be any
            number; None of a model without keypoints.
        keypoint_names: J names; empty where `keypoints` is None.
        model: which model answered.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    names: tuple[str, ...]
    rle: tuple[bytes, ...] | None
    image_size: tuple[int, int]
    keypoints: npt.NDArray[np.float32] | None = None
    keypoint_names: tuple[str, ...] = ()
    model: ModelIdentity = UNKNOWN_MODEL

    def __post_init__(self) -> None:
        """Refuse fields that do not fit together."""
        count = len(self.names)
        columns = (self.scores, self.labels, *(() if self.rle is None else (self.rle,)))
        if self.boxes.shape != (count, 4) or any(len(rows) != count for rows in columns):
            raise ValueError(
                f"detections: got boxes {self.boxes.shape}, {len(self.scores)} scores, {len(self.labels)} labels, "
                f"{count} names, {'no' if self.rle is None else len(self.rle)} masks; "
                "expected one row an object in each"
            )
        expected = (count, len(self.keypoint_names), 3)
        if self.keypoints is not None and self.keypoints.shape != expected:
            raise ValueError(
                f"detections: got keypoints {self.keypoints.shape}, expected {expected}: an object a row, a name each"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        """One line: how many objects of which classes, the best score, the size of the image."""
        height, width = self.image_size
        counts = ", ".join(f"{count} {name}" for name, count in collections.Counter(self.names).items())
        best = f", best score {float(self.scores.max()):.2f}" if len(self) else ""
        kinds = [*(["masks"] if self.rle is not None else []), *(["keypoints"] if self.keypoints is not None else [])]
        of = f" with {' and '.join(kinds)}" if kinds else ""
        return f"Detections({len(self)} objects{of}{f': {counts}' if counts else ''}{best}; image {width}x{height})"

    def _repr_png_(self) -> bytes:
        """What a notebook shows where an answer is a cell's last line: a PNG of the objects, on plain ground.

        The image itself is not here; `maskline_show.picture.draw` draws on it.
        """
        return preview_png(self)

    def __getitem__(self, index: int) -> Detection:
        return Detection(
            self.boxes[index],
            float(self.scores[index]),
            int(self.labels[index]),
            self.names[index],
            None if self.rle is None else self.rle[index],
            self.image_size,
            None if self.keypoints is None else self.keypoints[index],
            self.keypoint_names,
        )

    def __iter__(self) -> Iterator[Detection]:
        return (self[i] for i in range(len(self)))

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """The mask of one object, [H, W] bool, decoded now; ValueError where the model has no masks."""
        return self[index].mask()

    def masks(self) -> npt.NDArray[np.bool_]:
        """All masks, [N, H, W] bool, decoded now; 100 objects of a 12-megapixel image take 1.2 GB, `mask` takes one.

        Raises:
            ValueError: the model has no masks.
        """
        if self.rle is None:
            raise ValueError(_NO_MASKS)
        out = np.empty((len(self), *self.image_size), np.bool_)
        for i in range(len(self)):
            out[i] = self.mask(i)
        return out

    def filter(self, *, min_score: float = 0.0, names: Collection[str] | None = None) -> Detections:
        """The objects with at least `min_score` and, where `names` is given, of one of these classes; same order."""
        keep = [
            i
            for i, (score, name) in enumerate(zip(self.scores, self.names, strict=True))
            if score >= min_score and (names is None or name in names)
        ]
        return Detections(
            boxes=self.boxes[keep],
            scores=self.scores[keep],
            labels=self.labels[keep],
            names=tuple(self.names[i] for i in keep),
            rle=None if self.rle is None else tuple(self.rle[i] for i in keep),
            image_size=self.image_size,
            keypoints=None if self.keypoints is None else self.keypoints[keep],
            keypoint_names=self.keypoint_names,
            model=self.model,
        )

    def to_coco_results(self, image_id: int, category_ids: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        """JSON-ready COCO results, one dict an object, best first; with `segmentation` and `keypoints` where there are.

        Args:
            image_id: of the image in the data set.
            category_ids: category id of each class name; objects of classes it lacks are left out. None: label + 1.
        """
        height, width = self.image_size
        results = []
        for found in self:
            category_id = found.label + 1 if category_ids is None else category_ids.get(found.name)
            if category_id is None:
                continue
            x0, y0, x1, y1 = (float(value) for value in found.box)
            result: dict[str, Any] = {
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": found.score,
            }
            if found.rle is not None:
                result["segmentation"] = {"size": [height, width], "counts": found.rle.decode("ascii")}
            if found.keypoints is not None:
                result["keypoints"] = found.coco_keypoints()
            results.append(result)
        return results

    def to_supervision(self) -> Any:
        """The objects as `supervision.Detections`, same order, for its annotators, trackers and counters.

        Returns:
            xyxy [N, 4] float32, confidence [N] float32, class_id [N] int, `data["class_name"]` [N] of str, and
            `mask`: a `CompactMask`, which reads as [N, H, W] bool; None where the model has no masks. It keeps each
            mask in the mask's own bounds, not in those of the box, which may be tighter and would cut it. Keypoints
            have no place there.

        Raises:
            ImportError: the package is not installed.
        """
        try:
            from supervision import CompactMask
            from supervision import Detections as Supervision
        except ImportError as error:
            raise ImportError(
                f"to_supervision: got {error}, expected the package supervision; `pip install 'supervision>=0.31'`"
            ) from error
        masks = None
        if self.rle is not None:
            whole = [{"size": list(self.image_size), "counts": counts} for counts in self.rle]
            edges = [rle_codec.bounds(counts, self.image_size) for counts in self.rle]
            # Its last row and column are part of a box, and a box holds one pixel at least.
            inclusive = [(x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)) for x0, y0, x1, y1 in edges]
            masks = CompactMask.from_coco_rle(whole, np.reshape(inclusive, (-1, 4)), self.image_size)
        return Supervision(
            xyxy=self.boxes.copy(),
            mask=masks,
            confidence=self.scores.copy(),
            class_id=self.labels.astype(np.intp),
            data={"class_name": np.array(self.names, np.str_)},
        )
