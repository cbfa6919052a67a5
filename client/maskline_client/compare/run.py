"""Ask both models for every image, in turn, and pair what they found."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from maskline_client.compare.figures import Comparison, ImageResult, Side
from maskline_client.compare.pairs import pair_objects
from maskline_client.detections import Detections
from maskline_client.detector import ImageDetector
from maskline_client.errors import ClientError, InvalidImage, ModelChanged, of_file
from maskline_client.images import read_file


@dataclasses.dataclass(frozen=True)
class Asked:
    """One side of a comparison: what is known of the model, and what asks it."""

    side: Side
    detector: ImageDetector

    def timed(self, data: bytes) -> tuple[Detections, float]:
        """The answer for an image file, and the milliseconds it took.

        Raises:
            ModelChanged: another model answered than the one that the comparison began with.
        """
        start = time.perf_counter()
        found = self.detector.detect(data)
        took_ms = 1e3 * (time.perf_counter() - start)
        expected = self.side.model.identity
        if found.model != expected:
            raise ModelChanged(
                f"{self.side.url}: the model changed during this comparison: got {found.model}, expected {expected} as "
                "at its start; run it again"
            )
        return found, took_ms


def compare(
    a: Asked, b: Asked, paths: Sequence[Path], score_thresh: float, advance: Callable[[], None] = lambda: None
) -> tuple[Comparison, list[ClientError]]:
    """Compare two models on images.

    One call is under way at a time, and the sides take turns at being first: what else a machine does falls on both.

    Args:
        a: the first model.
        b: the second model.
        paths: of the images.
        score_thresh: from which score on a side is sure of an object.
        advance: called after each image.

    Returns:
        The comparison of all images that both answered, and why the others were refused.

    Raises:
        ValueError: the two have no class in common.
        ClientError: a server failed, or its model changed.
    """
    _check_classes(a.side, b.side)
    images: list[ImageResult] = []
    refused: list[ClientError] = []
    for number, path in enumerate(paths):
        try:
            data = read_file(path)
            if number == 0:  # the first call of a connection takes longer than others
                a.timed(data)
                b.timed(data)
            if number % 2 == 0:
                answer_a, answer_b = a.timed(data), b.timed(data)
            else:
                answer_b, answer_a = b.timed(data), a.timed(data)
        except InvalidImage as error:
            refused.append(of_file(error, path))
        else:
            (found_a, ms_a), (found_b, ms_b) = answer_a, answer_b
            pairs = pair_objects(found_a, found_b, score_thresh)
            images.append(ImageResult(path, found_a, found_b, pairs, ms_a, ms_b))
        advance()
    return Comparison(a.side, b.side, score_thresh, tuple(images)), refused


def _check_classes(a: Side, b: Side) -> None:
    if not {*a.model.classes} & {*b.model.classes}:
        raise ValueError(
            f"compare: got the classes {', '.join(a.model.classes[:5])} and {', '.join(b.model.classes[:5])}, expected "
            "some in common; these are models for different things"
        )
