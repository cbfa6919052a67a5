"""One small tree of errors: what went wrong, what was got and expected, and what to do next.

Each class carries the exit code its command ends with, so scripts can tell the cases apart:
1 the server failed, 2 bad input, 3 server unavailable or full, 4 contract mismatch, 5 deadline.
"""

# ruff: noqa: N818 -- named for what happened, as gRPC names its status codes

from __future__ import annotations


class ClientError(Exception):
    """Any failure of a call; also the class of errors that the server calls its own fault."""

    exit_code = 1


class InvalidImage(ClientError):
    """The image was refused, here before sending or by the server (INVALID_ARGUMENT)."""

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


_QUEUE_TEXTS = ("maximum queue size", "Request timeout expired")  # what Triton's scheduler answers, both UNAVAILABLE
# Triton's answer to a request for an output that the model lacks, and our model's to one that names another artifact.
_OTHER_MODEL = ("unexpected inference output", "artifact_sha256: got")


def from_status(status: str, details: str, url: str, deadline_s: float) -> ClientError:
    """The error for a failed gRPC call.

    Args:
        status: name of the gRPC status code, e.g. "UNAVAILABLE"; a "StatusCode." prefix is accepted.
        details: the server's or the channel's text.
        url: host:port that was called.
        deadline_s: the call's deadline in seconds.
    """
    code = status.removeprefix("StatusCode.")
    text = " ".join(details.split()) or "no further text"
    if code == "INVALID_ARGUMENT" and any(known in text for known in _OTHER_MODEL):
        return ModelChanged(
            f"{url}: the model changed while this client was connected ({text}), expected the one it had before; "
            "connect anew"
        )
    if code == "INVALID_ARGUMENT":
        return InvalidImage(f"{url} refused the image: {text}")
    if code == "UNAVAILABLE":
        return _unavailable(text, url)
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            f"{url}: got no answer within {deadline_s:g} s; raise the deadline or lower the load "
            "(`maskline-client health` shows whether the server is up)"
        )
    if code in ("NOT_FOUND", "UNIMPLEMENTED"):
        return ContractMismatch(
            f"{url}: got {code} ({text}), expected a Triton server with the ensemble maskrcnn; check the address "
            "and the model repository it serves"
        )
    return ClientError(f"{url}: the call failed with {code} ({text}); look at the server's log")


def _unavailable(text: str, url: str) -> ClientError:
    """UNAVAILABLE means three things in Triton: its text tells them apart."""
    if any(known in text for known in _QUEUE_TEXTS):
        return QueueFull(f"{url}: the server's queue is full ({text}); send fewer requests at a time or retry later")
    if "unknown model" in text or "not ready" in text:
        return ServerUnavailable(f"{url}: the model is not loaded ({text}); look at the server's log")
    return ServerUnavailable(
        f"{url}: no server answers ({text}); start one with `maskline-serve run REPO`, or name another with --url"
    )
