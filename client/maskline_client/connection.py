"""The connection that the sync and the asyncio client share: address, deadline, retries, TLS, channel options."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from tritonclient.utils import InferenceServerException

from maskline_client.errors import ClientError, DeadlineExceeded, ModelChanged, ServerUnavailable, from_status

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_DEADLINE_S = 60.0  # a ResNet-50-FPN on two cores takes about 5 s an image, and a queue stands before it
DEFAULT_RETRIES = 4  # gRPC caps a call at 5 attempts
CONTRACT_S = 5.0  # a server with all cores busy answers in a tenth of it; one that hangs must not hold up many calls

_UNLIMITED = -1
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # environment variables, in the order in which gRPC looks
_NO_PROXIES = ("no_grpc_proxy", "no_proxy")
# gRPC retries only what it still holds; its default of 256 KiB is less than a photograph.
_RETRY_BUFFER_BYTES = 64 << 20
_KEEPALIVE_MS = 330_000  # Triton closes a connection that pings more often than every 300 s


@dataclasses.dataclass(frozen=True)
class Tls:
    """An encrypted connection.

    Attributes:
        ca: PEM file of the authorities to trust; None: those that gRPC ships.
        key: PEM file of the client's private key, for mutual TLS.
        certificate: PEM file of the client's certificate chain, for mutual TLS.
    """

    ca: Path | None = None
    key: Path | None = None
    certificate: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            ValueError: a file cannot be read, or only one of key and certificate is given.
        """
        if (self.key is None) != (self.certificate is None):
            raise ValueError("TLS: got only one of key and certificate, expected both or none")
        return grpc.ssl_channel_credentials(*(_read_pem(path) for path in (self.ca, self.key, self.certificate)))


@dataclasses.dataclass(frozen=True)
class Connection:
    """How to reach the server.

    Attributes:
        url: host:port of the gRPC endpoint; of several, with commas between.
        deadline_s: seconds a call may take, the check of the contract before the first one and retries included.
        retries: attempts after the first when the server is unavailable, 0 to 4; of several addresses, rounds.
        tls: None for a plain connection.
        contract_s: seconds a question for the contract may take, which any server answers at once.
    """

    url: str = DEFAULT_URL
    deadline_s: float = DEFAULT_DEADLINE_S
    retries: int = DEFAULT_RETRIES
    tls: Tls | None = None
    contract_s: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what could only fail later, at the first call."""
        for address in self.addresses:
            _check_address(address)
        if len({*self.addresses}) != len(self.addresses):
            raise ValueError(f"url: got {self.url!r}, expected each address once")
        if not (math.isfinite(self.deadline_s) and self.deadline_s > 0):
            raise ValueError(f"deadline: got {self.deadline_s} s, expected a positive number of seconds")
        if not 0 <= self.retries <= DEFAULT_RETRIES:
            raise ValueError(f"retries: got {self.retries}, expected 0 to {DEFAULT_RETRIES}, the most that gRPC makes")

    @property
    def addresses(self) -> tuple[str, ...]:
        """host:port of each endpoint."""
        return tuple(self.url.split(","))

    def each(self) -> tuple[Connection, ...]:
        """A connection to each address; of several none repeats, or waits for, what another one may answer at once."""
        if len(self.addresses) == 1:
            return (self,)
        alone = dataclasses.replace(self, retries=0, contract_s=CONTRACT_S)
        return tuple(dataclasses.replace(alone, url=address) for address in self.addresses)

    @property
    def host(self) -> str:
        """The name or address in `url`, which is one."""
        return self.url.rpartition(":")[0].strip("[]")

    def client_arguments(self) -> dict[str, Any]:
        """Keyword arguments of tritonclient's `InferenceServerClient`, the sync and the asyncio one.

        Raises:
            ValueError: there are several addresses.
        """
        if len(self.addresses) > 1:
            raise ValueError(f"url: got the addresses {self.url}, expected one here; name one of them")
        return {
            "url": self.url,
            "creds": self.tls.credentials() if self.tls else None,
            "channel_args": channel_args(self.retries, proxies=not is_loopback(self.host)),
        }

    def error(self, failure: InferenceServerException) -> ClientError:
        """The failure of a call as one of our errors."""
        proxy = proxy_variable(self.host, os.environ)
        return from_status(str(failure.status()), str(failure.message()), self.url, self.deadline_s, proxy)

    def contract_left_s(self, start: float) -> float:
        """Seconds that a question for the contract may take, of something that began at `start`; as `left_s`."""
        return min(self.left_s(start), self.contract_s)

    def contract_error(self, failure: InferenceServerException, start: float) -> ClientError:
        """The failure of a question for the contract as one of our errors."""
        error = self.error(failure)
        late = time.monotonic() >= start + self.deadline_s
        if late or math.isinf(self.contract_s) or not isinstance(error, DeadlineExceeded):
            return error
        return ServerUnavailable(
            f"{self.url}: got no answer to the question for its contract within {self.contract_s:g} s; look at the "
            "server's log"
        )

    def left_s(self, start: float) -> float:
        """Seconds left of the deadline of something that began at `start` (of `time.monotonic`); more than 0.

        Raises:
            DeadlineExceeded: none.
        """
        left = start + self.deadline_s - time.monotonic()
        if left <= 0:
            raise self.too_late()
        return left

    def changing(self, attempts: int) -> ClientError:
        """The error of a call that met another model on every attempt."""
        return ModelChanged(
            f"{self.url}: got answers of different models in {attempts} attempts, expected one; are several servers "
            "with different models behind this address?"
        )

    def too_late(self) -> ClientError:
        """The error of a deadline that passed on our side."""
        return from_status("DEADLINE_EXCEEDED", "", self.url, self.deadline_s)


def _check_address(url: str) -> None:
    """Raise ValueError for what is not host:port."""
    host, _, port = url.rpartition(":")
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    plain = url.isascii() and "/" not in url and not any(letter.isspace() for letter in url)
    if not plain or not host or bare_ipv6 or not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(
            f"url: got {url!r}, expected host:port of the gRPC endpoint, e.g. {DEFAULT_URL} or [::1]:8001; several "
            "with commas between"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, which no proxy can reach in our place."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_variable(host: str, environ: Mapping[str, str]) -> str | None:
    """The environment variable whose proxy gRPC uses for a host, None for none."""
    used = next((name for name in _PROXIES if environ.get(name)), None)
    spared = next((environ[name] for name in _NO_PROXIES if environ.get(name)), "").split(",")
    direct = is_loopback(host) or any(_matches(host, entry.strip()) for entry in spared)
    return None if direct else used


def _matches(host: str, entry: str) -> bool:
    """Whether an entry of no_proxy means a host: the end of a name, or a range of addresses."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return bool(entry) and host.endswith(entry)


def channel_args(retries: int, *, proxies: bool = True) -> list[tuple[str, str | int]]:
    """All channel options; tritonclient drops its own defaults when it is given any, message sizes included."""
    args: list[tuple[str, str | int]] = [
        ("grpc.max_send_message_length", _UNLIMITED),
        ("grpc.max_receive_message_length", _UNLIMITED),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.initial_reconnect_backoff_ms", 200),  # the default of 1 s would outlast the retries of a restart
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_http_proxy", int(proxies)),
    ]
    if retries == 0:
        return [*args, ("grpc.enable_retries", 0)]
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": "0.2s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        # Inference changes nothing on the server, so it may be repeated. A server that stops cancels what is under way;
        # what the caller cancels is never repeated.
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    service = {"name": [{"service": "inference.GRPCInferenceService"}], "retryPolicy": policy}
    return [
        *args,
        ("grpc.enable_retries", 1),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        ("grpc.service_config", json.dumps({"methodConfig": [service]})),
    ]


def _read_pem(path: Path | None) -> bytes | None:
    """The bytes of a PEM file, None for none."""
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ValueError(f"TLS: {path} cannot be read ({error.strerror}), expected a PEM file") from error
