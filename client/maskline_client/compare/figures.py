"""The figures of a comparison: over all images, and of each class."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskline_client.compare.pairs import ImagePairs, Pair
from maskline_client.detections import Detections
from maskline_client.served_model import ServedModel

FORMAT = "maskline-compare/1"


@dataclasses.dataclass(frozen=True)
class ImageResult:
    """One image.

    Attributes:
        path: the file.
        a, b: what each side found.
        pairs: what they have in common.
        ms_a, ms_b: milliseconds of each call.
    """

    path: Path
    a: Detections
    b: Detections
    pairs: ImagePairs
    ms_a: float
    ms_b: float


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two models: how it is named in tables, where it is, and what it is."""

    title: str
    url: str
    model: ServedModel


@dataclasses.dataclass(frozen=True)
class ClassFigures:
    """One class, or all of them.

    Attributes:
        name: of the class.
        objects_a, objects_b: what each side is sure of.
        both: objects that both found as this class.
        box_iou, mask_iou: means over these; None of none.
    """

    name: str
    objects_a: int
    objects_b: int
    both: int
    box_iou: float | None
    mask_iou: float | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All images that both answered, and what follows from them."""

    a: Side
    b: Side
    score_thresh: float
    images: tuple[ImageResult, ...]

    @property
    def agreement(self) -> float:
        """Share of all objects found that both found, as the same class: 0..1; 1 where nobody found any."""
        both = len(self.pairs)
        total = both + self.flips + self.only_a + self.only_b
        return both / total if total else 1.0

    @property
    def pairs(self) -> list[Pair]:
        """Objects that both found, of all images."""
        return [pair for image in self.images for pair in image.pairs.pairs]

    @property
    def flips(self) -> int:
        """Objects that both found, as two classes."""
        return sum(len(image.pairs.flips) for image in self.images)

    @property
    def only_a(self) -> int:
        """Objects that the first alone found."""
        return sum(len(image.pairs.only_a) for image in self.images)

    @property
    def only_b(self) -> int:
        """Objects that the second alone found."""
        return sum(len(image.pairs.only_b) for image in self.images)

    def worst(self, number: int) -> list[ImageResult]:
        """The images that differ most, worst first; none on which both agree."""
        apart = [image for image in self.images if image.pairs.likeness < 1]
        return sorted(apart, key=lambda image: image.pairs.likeness)[:number]

    def classes(self) -> list[ClassFigures]:
        """Figures of each class that either side found, in alphabetical order."""
        sure_a = Counter(name for image in self.images for name in _sure(image.a, self.score_thresh))
        sure_b = Counter(name for image in self.images for name in _sure(image.b, self.score_thresh))
        pairs: dict[str, list[Pair]] = defaultdict(list)
        for pair in self.pairs:
            pairs[pair.name].append(pair)
        return [
            ClassFigures(
                name,
                sure_a[name],
                sure_b[name],
                len(pairs[name]),
                _mean([pair.box_iou for pair in pairs[name]]),
                _mean(_mask_ious(pairs[name])),
            )
            for name in sorted(sure_a.keys() | sure_b.keys())
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: which models, the figures, each image."""
        return {
            "format": FORMAT,
            "models": {
                side: {"title": one.title, "url": one.url, **dataclasses.asdict(one.model.identity)}
                for side, one in (("a", self.a), ("b", self.b))
            },
            "score_thresh": self.score_thresh,
            "figures": self.figures(),
            "classes": [dataclasses.asdict(figures) for figures in self.classes()],
            "images": [_image(image) for image in self.images],
        }

    def figures(self) -> dict[str, Any]:
        """Name -> number; None where there is nothing that it could be of."""
        pairs = self.pairs
        changes = [pair.score_change for pair in pairs]
        counts = [image.pairs.count_b - image.pairs.count_a for image in self.images]
        return {
            "images": len(self.images),
            "objects_a": sum(image.pairs.count_a for image in self.images),
            "objects_b": sum(image.pairs.count_b for image in self.images),
            "both": len(pairs),
            "only_a": self.only_a,
            "only_b": self.only_b,
            "label_flips": self.flips,
            "agreement": self.agreement,
            **_spread("box_iou", [pair.box_iou for pair in pairs]),
            **_spread("mask_iou", _mask_ious(pairs)),
            "score_change_mean": _mean(changes),
            "score_change_largest": max(changes, key=abs, default=None),
            "count_change_mean": _mean(counts),
            "images_of_other_count": sum(change != 0 for change in counts),
            "latency_ms_a": _median([image.ms_a for image in self.images]),
            "latency_ms_b": _median([image.ms_b for image in self.images]),
        }


def _image(image: ImageResult) -> dict[str, Any]:
    pairs = image.pairs
    return {
        "file": str(image.path),
        "objects_a": pairs.count_a,
        "objects_b": pairs.count_b,
        "both": len(pairs.pairs),
        "only_a": len(pairs.only_a),
        "only_b": len(pairs.only_b),
        "label_flips": len(pairs.flips),
        "likeness": pairs.likeness,
        "ms_a": image.ms_a,
        "ms_b": image.ms_b,
    }


def _sure(found: Detections, score_thresh: float) -> list[str]:
    """The class of each object that an answer is sure of."""
    return [name for name, score in zip(found.names, found.scores, strict=True) if score >= score_thresh]


def _mask_ious(pairs: Iterable[Pair]) -> list[float]:
    """Of the pairs with masks on both sides."""
    return [pair.mask_iou for pair in pairs if pair.mask_iou is not None]


def _spread(name: str, values: Sequence[float]) -> dict[str, float | None]:
    return {f"{name}_mean": _mean(values), f"{name}_least": min(values, default=None)}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
