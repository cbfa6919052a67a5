"""The client: images in, detections out, over one gRPC connection."""

from __future__ import annotations

import abc
import collections
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

from maskline_client.calling.addresses import Addresses, Turns, went_away
from maskline_client.calling.endpoint import Endpoint
from maskline_client.calling.known_model import answering
from maskline_client.connection import DEFAULT_DEADLINE_S, DEFAULT_RETRIES, DEFAULT_URL, Connection, Tls
from maskline_client.contract import DEFAULT_MODEL, MASKRCNN
from maskline_client.detections import Detections
from maskline_client.errors import ClientError
from maskline_client.images import ImageSource, encode
from maskline_client.served_model import ServedModel

T = TypeVar("T")

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

    def detect(self, image: ImageSource, *, masks: bool = True) -> Detections:
        """Find the objects of one image.

        Args:
            image: a path, the bytes of a JPEG, PNG or WebP file, a Pillow image, or an array [H, W, 3] uint8 RGB.
            masks: False: boxes alone, neither masks nor keypoints, which then cost nothing.

        Raises:
            InvalidImage: the image was refused, here or by the server.
            ServerUnavailable: no server, or it went away; after the retries.
            QueueFull: the server has too much to do.
            DeadlineExceeded: no answer in time.
            ContractMismatch: the server is not one this client can read.
        """
        return self._detect(image, None, masks)

    def detect_many(
        self, images: Iterable[ImageSource], in_flight: int = IN_FLIGHT, *, masks: bool = True
    ) -> Iterator[Detections]:
        """The detections of each image, in the order of `images`; the first error ends the iteration by raising it.

        Args:
            images: read lazily, never more than `in_flight` ahead of the results taken.
            in_flight: requests under way at a time, 1 or more.
            masks: as `detect`.
        """
        for outcome in self.try_detect_many(images, in_flight, masks=masks):
            yield outcome.unwrap()

    def try_detect_many(
        self,
        images: Iterable[ImageSource],
        in_flight: int = IN_FLIGHT,
        of: ServedModel | None = None,
        *,
        masks: bool = True,
    ) -> Iterator[Outcome]:
        """As `detect_many`, with an image's failure as its outcome instead of the end of all.

        Args:
            images: as `detect_many`.
            in_flight: as `detect_many`.
            of: the model that all answers must be of, for runs whose results belong together; an answer of another one
                becomes a ContractMismatch.
            masks: as `detect`.
        """
        if in_flight < 1:
            raise ValueError(f"in_flight: got {in_flight}, expected 1 or more")
        return self._outcomes(images, in_flight, of, masks)

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the model; calls under way fail."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _outcomes(
        self, images: Iterable[ImageSource], in_flight: int, of: ServedModel | None, masks: bool
    ) -> Iterator[Outcome]:
        """Keep a window of requests under way and hand their outcomes on in order."""
        window: collections.deque[Future[Outcome]] = collections.deque()
        pool = ThreadPoolExecutor(in_flight, thread_name_prefix="maskline-detect")
        try:
            for image in images:
                window.append(pool.submit(self._outcome, image, of, masks))
                if len(window) == in_flight:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            # Without waiting: a caller who stops early, by Ctrl-C too, is not held up by calls until their deadline.
            pool.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Outcome:
        """Detect, with the error as a value."""
        try:
            return Outcome(image, detections=self._detect(image, of, masks))
        except ClientError as error:
            return Outcome(image, error=error)

    @abc.abstractmethod
    def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        """The detections of an image, with masks and keypoints or without, by the model `of`; None takes any."""


class Detector(ImageDetector):
    """A connection to a served Mask R-CNN; safe to share between threads.

    The first call checks that the server is the one this client can read, and fetches the class names. A server that is
    replaced by one with another model is noticed: the names are always those of the model that answered.

    Args:
        url: host:port of the gRPC endpoint. Several, with commas between: calls are spread over those that answer, and
            one that is unavailable, stopping or full hands its call on to another one.
        model: the model's name, as `maskline-serve assemble --name` gave it.
        deadline_s: seconds a call may take, the check of the contract before the first one and retries included.
        retries: attempts after the first when the server is unavailable, 0 to 4; of several addresses, rounds after the
            first, each of which may go to all of them. 0: a call is sent once, to one address.
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
        model: str = DEFAULT_MODEL,
        deadline_s: float = DEFAULT_DEADLINE_S,
        retries: int = DEFAULT_RETRIES,
        tls: Tls | None = None,
    ) -> None:
        self._connection = Connection(url, deadline_s, retries, tls)
        self._endpoints = [Endpoint(one, model) for one in self._connection.each()]
        self._addresses = Addresses(len(self._endpoints))

    @property
    def model(self) -> ServedModel:
        """What is served, as far as known: class names, masks or not, the names of keypoints; asks a new server.

        Raises:
            ClientError: the server is not there, or not one this client can read.
        """
        return self._ask(lambda endpoint, start: endpoint.model(MASKRCNN, start))

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        for endpoint in self._endpoints:
            endpoint.close()

    def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        data, (spec, expected) = encode(image), answering(of, masks)
        return self._ask(lambda endpoint, start: endpoint.detect(data, spec, expected, start))

    def _ask(self, question: Callable[[Endpoint, float], T]) -> T:
        """Ask one address after the other until one answers; the question is told when the call began."""
        start = time.monotonic()
        turns = Turns(self._addresses, self._connection.retries, start + self._connection.deadline_s)
        while True:
            endpoint = self._endpoints[turns.begin()]
            try:
                answer = question(endpoint, start)
            except ClientError as error:
                if went_away(error):
                    endpoint.forget()
                time.sleep(turns.failed(error))
            except BaseException:
                turns.broken_off()
                raise
            else:
                turns.answered()
                return answer
