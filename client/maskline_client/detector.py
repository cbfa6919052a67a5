"""The client: images in, detections out, over one gRPC connection."""

from __future__ import annotations

import abc
import collections
import dataclasses
import math
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import tritonclient.grpc as triton

from maskline_client.calling.answer import parse_answer, request_inputs, request_outputs, request_parameters
from maskline_client.calling.known_model import ATTEMPTS, KnownModel, check_same
from maskline_client.connection import DEFAULT_DEADLINE_S, DEFAULT_RETRIES, DEFAULT_URL, Connection, Tls
from maskline_client.contract import MASKRCNN
from maskline_client.detections import Detections
from maskline_client.errors import ClientError, ModelChanged
from maskline_client.images import ImageSource, encode
from maskline_client.served_model import ServedModel, read_model

IN_FLIGHT = 8  # enough to fill a server's batch while the next one travels


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one image of many: exactly one of `detections` and `error` is set."""

    source: ImageSource
    detections: Detections | None = None
    error: ClientError | None = None

    def unwrap(self) -> Detections:
        """The detections, or raise the error."""
        if self.detections is None:
            raise self.error or AssertionError("an outcome without detections has an error")
        return self.detections


class ImageDetector(abc.ABC):
    """What every detector does, wherever its model is: one image, or many with a window of calls under way."""

    @property
    @abc.abstractmethod
    def model(self) -> ServedModel:
        """What answers: class names, masks or not, the names of keypoints."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, label 0 first; as `model`."""
        return self.model.classes

    def detect(self, image: ImageSource) -> Detections:
        """Find the objects of one image.

        Args:
            image: a path, the bytes of a JPEG, PNG or WebP file, a Pillow image, or an array [H, W, 3] uint8 RGB.

        Raises:
            InvalidImage: the image was refused, here or by the server.
            ServerUnavailable: no server, or it went away; after the retries.
            QueueFull: the server has too much to do.
            DeadlineExceeded: no answer in time.
            ContractMismatch: the server is not one this client can read.
        """
        return self._detect(image, None)

    def detect_many(self, images: Iterable[ImageSource], in_flight: int = IN_FLIGHT) -> Iterator[Detections]:
        """The detections of each image, in the order of `images`; the first error ends the iteration by raising it.

        Args:
            images: read lazily, never more than `in_flight` ahead of the results taken.
            in_flight: requests under way at a time, 1 or more.
        """
        for outcome in self.try_detect_many(images, in_flight):
            yield outcome.unwrap()

    def try_detect_many(
        self, images: Iterable[ImageSource], in_flight: int = IN_FLIGHT, of: ServedModel | None = None
    ) -> Iterator[Outcome]:
        """As `detect_many`, with an image's failure as its outcome instead of the end of all.

        Args:
            images: as `detect_many`.
            in_flight: as `detect_many`.
            of: the model that all answers must be of, for runs whose results belong together; an answer of another one
                becomes a ContractMismatch.
        """
        if in_flight < 1:
            raise ValueError(f"in_flight: got {in_flight}, expected 1 or more")
        return self._outcomes(images, in_flight, of)

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the model; calls under way fail."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _outcomes(self, images: Iterable[ImageSource], in_flight: int, of: ServedModel | None) -> Iterator[Outcome]:
        """Keep a window of requests under way and hand their outcomes on in order."""
        window: collections.deque[Future[Outcome]] = collections.deque()
        pool = ThreadPoolExecutor(in_flight, thread_name_prefix="maskline-detect")
        try:
            for image in images:
                window.append(pool.submit(self._outcome, image, of))
                if len(window) == in_flight:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            # Without waiting: a caller who stops early, by Ctrl-C too, is not held up by calls until their deadline.
            pool.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, image: ImageSource, of: ServedModel | None) -> Outcome:
        """Detect, with the error as a value."""
        try:
            return Outcome(image, detections=self._detect(image, of))
        except ClientError as error:
            return Outcome(image, error=error)

    @abc.abstractmethod
    def _detect(self, image: ImageSource, of: ServedModel | None) -> Detections:
        """The detections of an image, by the model `of`; None takes any."""


class Detector(ImageDetector):
    """A connection to a served Mask R-CNN; safe to share between threads.

    The first call checks that the server is the one this client can read, and fetches the class names. A server that is
    replaced by one with another model is noticed: the names are always those of the model that answered.

    Args:
        url: host:port of the gRPC endpoint.
        deadline_s: seconds a call may take, the check of the contract before the first one and retries included.
        retries: attempts after the first when the server is unavailable, 0 to 4.
        tls: certificates of an encrypted connection; None for a plain one.

    Raises:
        ValueError: an argument that cannot work.

    Example:
        >>> with Detector("127.0.0.1:8001") as detector:  # doctest: +SKIP
        ...     for found in detector.detect("photo.jpg"):
        ...         print(found.name, found.score)
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
        self._client = triton.InferenceServerClient(**self._connection.client_arguments())
        self._lock = threading.Lock()
        self._known = KnownModel()

    @property
    def model(self) -> ServedModel:
        """What is served, as far as known: class names, masks or not, the names of keypoints; asks a new server.

        Raises:
            ClientError: the server is not there, or not one this client can read.
        """
        return self._known_model(time.monotonic())

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        self._client.close()

    def _detect(self, image: ImageSource, of: ServedModel | None) -> Detections:
        """Send an image until it is sure which model answered; `of` None takes any."""
        data = encode(image)
        start = time.monotonic()
        for _ in range(ATTEMPTS):
            model = self._known_model(start)
            check_same(model, of, self._connection.url)
            try:
                result = self._infer(data, model, start)
            except ModelChanged:
                self._known = self._known.without(model)
                continue
            if self._known_model(start, since_s=time.monotonic()) == model:
                return parse_answer(result.as_numpy, model)
        raise self._connection.changing(ATTEMPTS)

    def _infer(self, data: bytes, model: ServedModel, start: float) -> triton.InferResult:
        """One request, meant for `model`."""
        try:
            return self._client.infer(
                MASKRCNN.name,
                request_inputs(data),
                outputs=request_outputs(model),
                client_timeout=self._connection.left_s(start),
                parameters=request_parameters(model),
            )
        except triton.InferenceServerException as failure:
            raise self._connection.error(failure) from failure

    def _known_model(self, start: float, since_s: float = -math.inf) -> ServedModel:
        """What is served since `since_s`; threads wait for one check together, each until its own deadline."""
        if (model := self._known.at(since_s)) is not None:
            return model
        if not self._lock.acquire(timeout=self._connection.left_s(start)):
            raise self._connection.too_late()
        try:
            if (model := self._known.at(since_s)) is None:
                asked_s = time.monotonic()
                model = self._check_contract(start)
                self._known = KnownModel(model, asked_s)
            return model
        finally:
            self._lock.release()

    def _check_contract(self, start: float) -> ServedModel:
        """Compare the server with the contract and return what it serves."""
        left_s = self._connection.left_s
        try:
            metadata = self._client.get_model_metadata(MASKRCNN.name, client_timeout=left_s(start))
            config = self._client.get_model_config(MASKRCNN.name, client_timeout=left_s(start))
        except triton.InferenceServerException as failure:
            raise self._connection.error(failure) from failure
        return read_model(metadata, config, MASKRCNN)
