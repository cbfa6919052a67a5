"""The asyncio twin of `Detector`: the same options, requests, answers and errors."""

from __future__ import annotations

import asyncio
import collections
import math
import time
from collections.abc import AsyncIterator, Iterable
from typing import Self

import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from maskline_client.calling.answer import parse_answer, request_inputs, request_outputs, request_parameters
from maskline_client.calling.known_model import ATTEMPTS, KnownModel, check_same
from maskline_client.connection import DEFAULT_DEADLINE_S, DEFAULT_RETRIES, DEFAULT_URL, Connection, Tls
from maskline_client.contract import MASKRCNN
from maskline_client.detections import Detections
from maskline_client.detector import IN_FLIGHT, Outcome
from maskline_client.errors import ClientError, ModelChanged
from maskline_client.images import ImageSource, encode
from maskline_client.served_model import ServedModel, read_model


class AsyncDetector:
    """A connection to a served Mask R-CNN for one event loop; see `Detector` for the arguments.

    Example:
        >>> async with AsyncDetector("127.0.0.1:8001") as detector:  # doctest: +SKIP
        ...     found = await detector.detect("photo.jpg")
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        retries: int = DEFAULT_RETRIES,
        tls: Tls | None = None,
    ) -> None:
        self._connection = Connection(url, deadline_s, retries, tls)
        self._client = triton_aio.InferenceServerClient(**self._connection.client_arguments())
        self._lock = asyncio.Lock()
        self._known = KnownModel()

    async def model(self) -> ServedModel:
        """What is served, as `Detector.model`; asks a new server and checks the contract with it."""
        return await self._known_model()

    async def classes(self) -> tuple[str, ...]:
        """Class names, label 0 first; asks the server as `model` does."""
        return (await self.model()).classes

    async def detect(self, image: ImageSource) -> Detections:
        """Find the objects of one image; arguments and errors as `Detector.detect`."""
        return await self._detect(image, None)

    async def detect_many(self, images: Iterable[ImageSource], in_flight: int = IN_FLIGHT) -> AsyncIterator[Detections]:
        """The detections of each image, in order; the first error ends the iteration by raising it."""
        async for outcome in self.try_detect_many(images, in_flight):
            yield outcome.unwrap()

    async def try_detect_many(
        self, images: Iterable[ImageSource], in_flight: int = IN_FLIGHT, of: ServedModel | None = None
    ) -> AsyncIterator[Outcome]:
        """As `detect_many`, with an image's failure as its outcome instead of the end of all; `of` as in `Detector`."""
        if in_flight < 1:
            raise ValueError(f"in_flight: got {in_flight}, expected 1 or more")
        window: collections.deque[asyncio.Task[Outcome]] = collections.deque()
        try:
            for image in images:
                window.append(asyncio.create_task(self._outcome(image, of)))
                if len(window) == in_flight:
                    yield await window.popleft()
            while window:
                yield await window.popleft()
        finally:
            for task in window:
                task.cancel()
            await asyncio.gather(*window, return_exceptions=True)

    async def close(self) -> None:
        """Close the connection; calls under way fail."""
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _outcome(self, image: ImageSource, of: ServedModel | None) -> Outcome:
        """Detect, with the error as a value."""
        try:
            return Outcome(image, detections=await self._detect(image, of))
        except ClientError as error:
            return Outcome(image, error=error)

    async def _detect(self, image: ImageSource, of: ServedModel | None) -> Detections:
        """Send an image until it is sure which model answered; `of` None takes any."""
        data = await asyncio.to_thread(encode, image)
        start = time.monotonic()
        try:
            async with asyncio.timeout(self._connection.deadline_s):  # for the wait of many for one contract check too
                for _ in range(ATTEMPTS):
                    model = await self._known_model()
                    check_same(model, of, self._connection.url)
                    try:
                        result = await self._infer(data, model, start)
                    except ModelChanged:
                        self._known = self._known.without(model)
                        continue
                    if await self._known_model(time.monotonic()) == model:
                        return parse_answer(result.as_numpy, model)
        except TimeoutError:
            raise self._connection.too_late() from None
        raise self._connection.changing(ATTEMPTS)

    async def _infer(self, data: bytes, model: ServedModel, start: float) -> triton.InferResult:
        """One request, meant for `model`."""
        try:
            return await self._client.infer(
                MASKRCNN.name,
                request_inputs(data),
                outputs=request_outputs(model),
                client_timeout=self._connection.left_s(start),
                parameters=request_parameters(model),
            )
        except triton.InferenceServerException as failure:
            raise self._connection.error(failure) from failure

    async def _known_model(self, since_s: float = -math.inf) -> ServedModel:
        """What is served since `since_s`; tasks wait for one check together."""
        if (model := self._known.at(since_s)) is not None:
            return model
        async with self._lock:
            if (model := self._known.at(since_s)) is None:
                asked_s = time.monotonic()
                model = await self._check_contract()
                self._known = KnownModel(model, asked_s)
            return model

    async def _check_contract(self) -> ServedModel:
        """Compare the server with the contract and return what it serves."""
        left_s, start = self._connection.left_s, time.monotonic()
        try:
            metadata = await self._client.get_model_metadata(MASKRCNN.name, client_timeout=left_s(start))
            config = await self._client.get_model_config(MASKRCNN.name, client_timeout=left_s(start))
        except triton.InferenceServerException as failure:
            raise self._connection.error(failure) from failure
        return read_model(metadata, config, MASKRCNN)
