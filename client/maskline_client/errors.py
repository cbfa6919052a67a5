"""One small tree of errors: what went wrong, what was got and expected, and what to do next.

Each class carries the exit code its command ends with, so scripts can tell the cases apart:
1 the server failed, 2 bad input, 3 server unavailable or full, 4 contract mismatch, 5 deadline.
"""

# ruff: noqa: N818 -- named for what happened, as gRPC names its status codes

from __future__ import annotations

from pathlib import Path


class ClientError(Exception):
    """Any failure of a call; also the class of errors that the server calls its own fault."""

    exit_code = 1


class InvalidImage(ClientError):
    """The image was refused, here before sending or by the server (INVALID_ARGUMENT)."""

    exit_code = 2


class RefusedImage(InvalidImage):
    """The server refused the image; the same bytes would be refused again."""


class InvalidModel(ClientError):
    """The folder of a model in this process is missing or damaged, or the model cannot run here."""

    exit_code = 2


class ServerUnavailable(ClientError):
    """No server at the address, the connection broke, or the model is not loaded (UNAVAILABLE)."""

    exit_code = 3


class QueueFull(ServerUnavailable):
    """The server is up and refused the request because its queue is full or the request waited too long in it."""


class ContractMismatch(ClientError):
    """The server answers, and is not one that this client can read: other model, tensors, types or shapes."""

    exit_code = 4


class ModelChanged(ContractMismatch):
    """The server serves another model than the one that this request, or this run, was made for."""


class DeadlineExceeded(ClientError):
    """No answer within the deadline of the call."""

    exit_code = 5


def of_file(error: ClientError, path: Path) -> ClientError:
    """An error of one image of many with the name of its file in front, where its text lacks it."""
    return error if str(path) in str(error) else type(error)(f"{path}: {error}")


_QUEUE_TEXTS = ("maximum queue size", "Request timeout expired")  # what Triton's scheduler answers, both UNAVAILABLE
_NOT_LOADED = ("unknown model", "not ready", "Server exiting", "Server is stopping")
_NO_MORE = "has no available versions"  # NOT_FOUND: a model that the server knows and has unloaded, as when it stops
_BY_US = ("Channel closed", "Locally cancelled")  # CANCELLED: by the one who called; else by a server that goes away
# What gRPC says where something answers that does not speak HTTP/2, such as Triton's HTTP port.
_NO_GRPC = ("failed to connect", ("Socket closed", "HTTP/2", "http1"))
# Triton's answer to a request for an output that the model lacks, and our model's to one that names another artifact.
_OTHER_MODEL = ("unexpected inference output", "artifact_sha256: got")


def from_status(status: str, details: str, url: str, deadline_s: float, proxy: str | None = None) -> ClientError:
    """The error for a failed gRPC call.

    Args:
        status: name of the gRPC status code, e.g. "UNAVAILABLE"; a "StatusCode." prefix is accepted.
        details: the server's or the channel's text.
        url: host:port that was called.
        deadline_s: the call's deadline in seconds.
        proxy: the environment variable whose proxy the call went through; None for a direct one.
    """
    code = status.removeprefix("StatusCode.")
    text = " ".join(details.split()) or "no further text"
    if code == "INVALID_ARGUMENT" and any(known in text for known in _OTHER_MODEL):
        return ModelChanged(
            f"{url}: the model changed while this client was connected ({text}), expected the one it had before; "
            "connect anew"
        )
    if code == "INVALID_ARGUMENT":
        return RefusedImage(f"{url} refused the image: {text}")
    if code == "UNAVAILABLE" or (code == "NOT_FOUND" and _NO_MORE in text):
        return _unavailable(text, url, proxy)
    if code == "CANCELLED" and not any(known in text for known in _BY_US):
        return ServerUnavailable(
            f"{url}: the server broke the call off ({text}), as when it stops; try again later, or look at its log"
        )
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            f"{url}: got no answer within {deadline_s:g} s{_through(proxy)}; raise the deadline or lower the load "
            "(`maskline-client health` shows whether the server is up)"
        )
    if code in ("NOT_FOUND", "UNIMPLEMENTED"):
        return ContractMismatch(
            f"{url}: got {code} ({text}), expected a Triton server with the ensemble of this model; check the "
            "address and the model repository it serves"
        )
    return ClientError(f"{url}: the call failed with {code} ({text}); look at the server's log")


def _through(proxy: str | None) -> str:
    """How the call went, for an error text."""
    return (
        f" through the proxy of ${proxy} (unset it, or name the host in $no_proxy, if it should not)" if proxy else ""
    )


def _unavailable(text: str, url: str, proxy: str | None) -> ClientError:
    """UNAVAILABLE means several things: the text of Triton or gRPC tells them apart."""
    if any(known in text for known in _QUEUE_TEXTS):
        return QueueFull(f"{url}: the server's queue is full ({text}); send fewer requests at a time or retry later")
    if any(known in text for known in _NOT_LOADED):
        return ServerUnavailable(
            f"{url}: the model is not loaded ({text}): the server stops, or could not load it; try again later, or "
            "look at its log"
        )
    if _NO_GRPC[0] in text and any(known in text for known in _NO_GRPC[1]):
        return ServerUnavailable(
            f"{url}: something answers there, and not by gRPC ({text}){_through(proxy)}; is it the HTTP port? "
            "Triton's gRPC port is 8001 where its HTTP port is 8000"
        )
    return ServerUnavailable(
        f"{url}: no server answers{_through(proxy)} ({text}); start one with `maskline-serve run REPO`, or name "
        "another with --url"
    )
