"""The asyncio twin of `Detector`: the same options, requests, answers and errors."""

from __future__ import annotations

import abc
import asyncio
import collections
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Self, TypeVar

from maskline_client.calling.addresses import Addresses, Turns, went_away
from maskline_client.calling.async_endpoint import AsyncEndpoint
from maskline_client.calling.known_model import answering
from maskline_client.connection import DEFAULT_DEADLINE_S, DEFAULT_RETRIES, DEFAULT_URL, Connection, Tls
from maskline_client.contract import DEFAULT_MODEL, MASKRCNN
from maskline_client.detections import Detections
from maskline_client.detector import IN_FLIGHT, Outcome
from maskline_client.errors import ClientError
from maskline_client.images import ImageSource, encode
from maskline_client.served_model import ServedModel

T = TypeVar("T")


class AsyncImageDetector(abc.ABC):
    """What every detector of an event loop does; see `ImageDetector`."""

    @abc.abstractmethod
    async def model(self) -> ServedModel:
        """What answers: class names, masks or not, the names of keypoints."""

    async def classes(self) -> tuple[str, ...]:
        """Class names, label 0 first; asks the server as `model` does."""
        return (await self.model()).classes

    async def detect(self, image: ImageSource, *, masks: bool = True) -> Detections:
        """Find the objects of one image; arguments and errors as `Detector.detect`."""
        return await self._detect(image, None, masks)

    async def detect_many(
        self, images: Iterable[ImageSource], in_flight: int = IN_FLIGHT, *, masks: bool = True
    ) -> AsyncGenerator[Detections, None]:
        """The detections of each image, in order; the first error ends the iteration by raising it."""
        async for outcome in self.try_detect_many(images, in_flight, masks=masks):
            yield outcome.unwrap()

    async def try_detect_many(
        self,
        images: Iterable[ImageSource],
        in_flight: int = IN_FLIGHT,
        of: ServedModel | None = None,
        *,
        masks: bool = True,
    ) -> AsyncGenerator[Outcome, None]:
        """As `detect_many`, with an image's failure as its outcome instead of the end of all; `of` as in `Detector`."""
        if in_flight < 1:
            raise ValueError(f"in_flight: got {in_flight}, expected 1 or more")
        window: collections.deque[asyncio.Task[Outcome]] = collections.deque()
        try:
            for image in images:
                window.append(asyncio.create_task(self._outcome(image, of, masks)))
                if len(window) == in_flight:
                    yield await window.popleft()
            while window:
                yield await window.popleft()
        finally:
            for task in window:
                task.cancel()
            await asyncio.gather(*window, return_exceptions=True)

    @abc.abstractmethod
    async def close(self) -> None:
        """Let go of the model; calls under way fail."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _outcome(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Outcome:
        """Detect, with the error as a value."""
        try:
            return Outcome(image, detections=await self._detect(image, of, masks))
        except ClientError as error:
            return Outcome(image, error=error)

    @abc.abstractmethod
    async def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        """The detections of an image, with masks and keypoints or without, by the model `of`; None takes any."""


class AsyncDetector(AsyncImageDetector):
    """A connection to a served Mask R-CNN for one event loop; see `Detector` for the arguments.

    Example:
        >>> async with AsyncDetector("127.0.0.1:8001") as detector:  # doctest: +SKIP
        ...     found = await detector.detect("photo.jpg")
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        model: str = DEFAULT_MODEL,
        deadline_s: float = DEFAULT_DEADLINE_S,
        retries: int = DEFAULT_RETRIES,
        tls: Tls | None = None,
    ) -> None:
        self._connection = Connection(url, deadline_s, retries, tls)
        self._endpoints = [AsyncEndpoint(one, model) for one in self._connection.each()]
        self._addresses = Addresses(len(self._endpoints))

    async def model(self) -> ServedModel:
        """What is served, as `Detector.model`; asks a new server and checks the contract with it."""
        return await self._ask(lambda endpoint, start: endpoint.model(MASKRCNN, start))

    async def close(self) -> None:
        """Close the connection; calls under way fail."""
        for endpoint in self._endpoints:
            await endpoint.close()

    async def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        data, (spec, expected) = await asyncio.to_thread(encode, image), answering(of, masks)
        return await self._ask(lambda endpoint, start: endpoint.detect(data, spec, expected, start))

    async def _ask(self, question: Callable[[AsyncEndpoint, float], Awaitable[T]]) -> T:
        """As `Detector`; the wait of many for one contract check counts too."""
        start = time.monotonic()
        turns = Turns(self._addresses, self._connection.retries, start + self._connection.deadline_s)
        try:
            async with asyncio.timeout(self._connection.deadline_s):
                while True:
                    endpoint = self._endpoints[turns.begin()]
                    try:
                        answer = await question(endpoint, start)
                    except ClientError as error:
                        if went_away(error):
                            endpoint.forget()
                        await asyncio.sleep(turns.failed(error))
                    except BaseException:
                        turns.broken_off()
                        raise
                    else:
                        turns.answered()
                        return answer
        except TimeoutError:
            raise self._connection.too_late() from None
