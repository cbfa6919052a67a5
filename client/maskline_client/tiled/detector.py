"""`TiledDetector`: any detector, asked about tiles."""

from __future__ import annotations

from collections.abc import Callable

from maskline_tiles import check_overlap, default_overlap

from maskline_client.detections import Detections
from maskline_client.detector import IN_FLIGHT, ImageDetector
from maskline_client.images import ImageSource
from maskline_client.served_model import ServedModel
from maskline_client.tiled.picture import CutPicture


class TiledDetector(ImageDetector):
    """Another detector, asked about the tiles of each image and about the image as a whole.

    Tiles are cut here and sent as PNGs. What is found in them is put together: an object that several tiles see is
    there once, one that no tile sees whole is joined of its parts, and what no tile holds comes from the whole image.

    Args:
        detector: a `Detector` or `LocalDetector`; closed with this one.
        side: of a tile, px. As large as the network's canvas, a tile is not resized.
        overlap: what neighbouring tiles share at least, px; None: a quarter of the side. An object no larger is whole
            in one of them.
        in_flight: tiles under way at a time.
        advance: called with the tiles of an image that are done, and how many it has.

    Raises:
        ValueError: an overlap of more than half a tile.

    Example:
        >>> with TiledDetector(Detector("127.0.0.1:8001"), side=512) as detector:  # doctest: +SKIP
        ...     print(detector.detect("aerial.jpg"))
    """

    def __init__(
        self,
        detector: ImageDetector,
        side: int = 512,
        overlap: int | None = None,
        *,
        in_flight: int = IN_FLIGHT,
        advance: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._detector, self._side, self._in_flight, self._advance = detector, side, in_flight, advance
        self._overlap = default_overlap(side) if overlap is None else overlap
        check_overlap(self._side, self._overlap)

    @property
    def model(self) -> ServedModel:
        """What answers: class names, masks or not, the names of keypoints."""
        return self._detector.model

    def close(self) -> None:
        """Close the detector that is asked."""
        self._detector.close()

    def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        cut = CutPicture.of(image, self._side, self._overlap)
        if len(cut.sources) == 1:
            return self._detector._detect(cut.sources[0], of, masks)
        # All tiles by one model: answers of two would be no answer.
        model = of or (self.model if masks else self.model.boxes_alone())
        found = []
        for outcome in self._detector.try_detect_many(cut.sources, self._in_flight, model, masks=masks):
            found.append(outcome.unwrap())
            self._advance(len(found), len(cut.tiles))
        return cut.together(found, model)
