"""Which of several addresses a call goes to, for the sync and the asyncio client.

Calls are spread by how many are under way at each address. An address that failed is left alone for a pause that grows
with each failure; then one call tries it, and the others go on elsewhere until it has answered.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Collection

from maskline_client.errors import (
    ClientError,
    ContractMismatch,
    DeadlineExceeded,
    InvalidImage,
    QueueFull,
    ServerUnavailable,
)

FIRST_PAUSE_S = 0.2  # of an address that failed once, and between two rounds of one call; doubled each time
LONGEST_PAUSE_S = 5.0  # about what a server takes to start


@dataclasses.dataclass
class _Address:
    """What is known of one address.

    Attributes:
        under_way: calls that it has not answered yet.
        failures: in a row.
        resting_until_s: of `time.monotonic`; when it may be tried again after a failure.
        on_trial: whether a call tries it now.
    """

    under_way: int = 0
    failures: int = 0
    resting_until_s: float = 0.0
    on_trial: bool = False

    @property
    def pause_s(self) -> float:
        """How long it is left alone after so many failures."""
        # With so many doublings the pause is the longest one whatever their number.
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 10))


class Addresses:
    """All addresses of a detector, by their numbers; safe to share between threads."""

    def __init__(self, count: int) -> None:
        self._all = [_Address() for _ in range(count)]
        self._next = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._all)

    def take(self, tried: Collection[int]) -> int:
        """The address of the next call, which counts as under way there.

        Args:
            tried: addresses that this call has asked already; not all of them.
        """
        with self._lock:
            now, left = time.monotonic(), [index for index in range(len(self)) if index not in tried]
            due = [index for index in left if self._all[index].failures and self._all[index].resting_until_s <= now]
            well = [index for index in left if not self._all[index].failures]
            if due:
                index = due[0]
                self._all[index].resting_until_s = now + self._all[index].pause_s  # this call alone tries it
                self._all[index].on_trial = True
            elif well:
                index = min(well, key=lambda i: (self._all[i].under_way, (i - self._next) % len(self)))
            else:  # nobody else is there to ask: better one that may fail than none
                index = min(left, key=lambda i: self._all[i].resting_until_s)
            self._next = index + 1
            self._all[index].under_way += 1
            return index

    def answered(self, index: int) -> None:
        """A call ended, and the address is well."""
        with self._lock:
            self._all[index].under_way -= 1
            self._all[index].failures, self._all[index].on_trial = 0, False

    def failed(self, index: int) -> None:
        """A call ended because the address could not answer it."""
        with self._lock:
            address = self._all[index]
            address.under_way -= 1
            if not address.failures or address.on_trial:  # calls that were under way together are one failure
                address.failures += 1
            address.on_trial = False
            address.resting_until_s = max(address.resting_until_s, time.monotonic() + address.pause_s)

    def left(self, index: int) -> None:
        """A call ended that says nothing of its address."""
        with self._lock:
            self._all[index].under_way -= 1


class Turns:
    """The way of one call from address to address.

    A call goes to one address after the other until one answers; that is a round. With `retries` there are so many
    further rounds, with a growing pause before each. Without, a call is sent once, to one address.

    Args:
        addresses: of the detector.
        retries: further rounds.
        end_s: when the call must be done, of `time.monotonic`.
    """

    def __init__(self, addresses: Addresses, retries: int, end_s: float) -> None:
        self._addresses, self._rounds_left, self._end_s = addresses, retries, end_s
        self._hands_on = len(addresses) > 1 and retries > 0
        self._pause_s = FIRST_PAUSE_S
        self._tried: list[int] = []
        self._errors: dict[int, ClientError] = {}

    def begin(self) -> int:
        """The address to ask now."""
        self._tried.append(self._addresses.take(self._tried))
        return self._tried[-1]

    def answered(self) -> None:
        """The address answered."""
        self._addresses.answered(self._tried[-1])

    def broken_off(self) -> None:
        """The call was given up from outside; at the end of its time, because of its address."""
        over = time.monotonic() >= self._end_s
        (self._addresses.failed if over else self._addresses.left)(self._tried[-1])

    def failed(self, error: ClientError) -> float:
        """Seconds to wait before another address is asked.

        Only what another server may do better is handed on. A server that fails by itself is not: an image that brings
        down what computes it would be taken round to all servers.

        Raises:
            ClientError: the call has failed; the text has what each address said.
        """
        index = self._tried[-1]
        self._errors[index] = error
        if isinstance(error, InvalidImage | ContractMismatch):  # the server is well
            self._addresses.answered(index)
            raise error
        self._addresses.failed(index)
        if not self._hands_on or not isinstance(error, ServerUnavailable):
            raise error
        if len(self._tried) < len(self._addresses):
            return 0.0
        if not self._rounds_left or time.monotonic() + self._pause_s >= self._end_s:
            said = "; ".join(map(str, self._errors.values()))
            raise type(error)(f"none of {len(self._errors)} addresses answered: {said}") from error
        pause_s = self._pause_s
        self._rounds_left, self._pause_s = self._rounds_left - 1, 2 * pause_s
        self._tried.clear()
        return pause_s


def went_away(error: ClientError) -> bool:
    """Whether another server, or none, may be at the address from now on."""
    return isinstance(error, ServerUnavailable | DeadlineExceeded) and not isinstance(error, QueueFull)
