"""What one image's answer is to a user.

Letters: N objects found (at most D, the server's detections an image), H W the original image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline_client import rle as rle_codec


@dataclasses.dataclass(frozen=True)
class Detection:
    """One object.

    Attributes:
        box: [4] float32 xyxy, px of the original image.
        score: 0..1.
        label: class index.
        name: class name.
        rle: COCO compressed counts at the original size.
        image_size: (height, width).
    """

    box: npt.NDArray[np.float32]
    score: float
    label: int
    name: str
    rle: bytes
    image_size: tuple[int, int]

    def mask(self) -> npt.NDArray[np.bool_]:
        """[H, W] bool."""
        return rle_codec.to_mask(self.rle, self.image_size)

    def area(self) -> int:
        """Pixels of the mask."""
        return rle_codec.area(self.rle)


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """The objects of one image, best score first; all fields have N rows, N may be 0.

    Attributes:
        boxes: [N, 4] float32 xyxy in continuous pixels of the original image (after EXIF orientation), x0 <= x1.
        scores: [N] float32, 0..1.
        labels: [N] int32 class index.
        names: class name of each object.
        rle: COCO compressed counts of each object's mask at the original size.
        image_size: (height, width) of the original image, px.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    names: tuple[str, ...]
    rle: tuple[bytes, ...]
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        """Refuse fields that do not fit together."""
        count = len(self.names)
        if self.boxes.shape != (count, 4) or any(len(rows) != count for rows in (self.scores, self.labels, self.rle)):
            raise ValueError(
                f"detections: got boxes {self.boxes.shape}, {len(self.scores)} scores, {len(self.labels)} labels, "
                f"{count} names, {len(self.rle)} masks; expected one row an object in each"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Detection:
        return Detection(
            self.boxes[index],
            float(self.scores[index]),
            int(self.labels[index]),
            self.names[index],
            self.rle[index],
            self.image_size,
        )

    def __iter__(self) -> Iterator[Detection]:
        return (self[i] for i in range(len(self)))

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """The mask of one object, [H, W] bool, decoded now."""
        return rle_codec.to_mask(self.rle[index], self.image_size)

    def masks(self) -> npt.NDArray[np.bool_]:
        """All masks, [N, H, W] bool, decoded now; 100 objects of a 12-megapixel image take 1.2 GB, `mask` takes one."""
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
            rle=tuple(self.rle[i] for i in keep),
            image_size=self.image_size,
        )

    def to_coco_results(self, image_id: int, category_ids: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        """JSON-ready COCO results, one dict an object, best first.

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
            results.append(
                {
                    "image_id": image_id,
                    "category_id": category_id,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": found.score,
                    "segmentation": {"size": [height, width], "counts": found.rle.decode("ascii")},
                }
            )
        return results
