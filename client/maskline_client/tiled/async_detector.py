"""`AsyncTiledDetector`: the asyncio twin of `TiledDetector`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from maskline_tiles import check_overlap, default_overlap

from maskline_client.async_detector import AsyncImageDetector
from maskline_client.detections import Detections
from maskline_client.detector import IN_FLIGHT
from maskline_client.images import ImageSource
from maskline_client.served_model import ServedModel
from maskline_client.tiled.picture import CutPicture


class AsyncTiledDetector(AsyncImageDetector):
    """As `TiledDetector`, of an `AsyncDetector`; cutting and putting together leave the event loop free.

    Example:
        >>> async with AsyncTiledDetector(AsyncDetector("127.0.0.1:8001"), side=512) as detector:  # doctest: +SKIP
        ...     found = await detector.detect("aerial.jpg")
    """

    def __init__(
        self,
        detector: AsyncImageDetector,
        side: int = 512,
        overlap: int | None = None,
        *,
        in_flight: int = IN_FLIGHT,
        advance: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._detector, self._side, self._in_flight, self._advance = detector, side, in_flight, advance
        self._overlap = default_overlap(side) if overlap is None else overlap
        check_overlap(self._side, self._overlap)

    async def model(self) -> ServedModel:
        """What answers: class names, masks or not, the names of keypoints."""
        return await self._detector.model()

    async def close(self) -> None:
        """Close the detector that is asked."""
        await self._detector.close()

    async def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        cut = await asyncio.to_thread(CutPicture.of, image, self._side, self._overlap)
        if len(cut.sources) == 1:
            return await self._detector._detect(cut.sources[0], of, masks)
        model = of or await self.model()
        if of is None and not masks:
            model = model.boxes_alone()
        found = []
        asked = self._detector.try_detect_many(cut.sources, self._in_flight, model, masks=masks)
        async with contextlib.aclosing(asked) as outcomes:  # a tile that fails ends those under way
            async for outcome in outcomes:
                found.append(outcome.unwrap())
                self._advance(len(found), len(cut.tiles))
        return await asyncio.to_thread(cut.together, found, model)
