"""Each gRPC status becomes one error of ours, with an exit code of its own."""

import pytest
from maskline_client import errors


@pytest.mark.parametrize(
    ("status", "details", "kind", "exit_code", "text"),
    [
        ("INVALID_ARGUMENT", "image 0: truncated", errors.RefusedImage, 2, "refused the image: image 0: truncated"),
        ("INVALID_ARGUMENT", "unexpected inference output 'x'", errors.ModelChanged, 4, "connect anew"),
        ("UNAVAILABLE", "failed to connect", errors.ServerUnavailable, 3, "no server answers"),
        ("UNAVAILABLE", "Exceeds maximum queue size", errors.QueueFull, 3, "send fewer requests at a time"),
        ("UNAVAILABLE", "Request timeout expired", errors.QueueFull, 3, "queue is full"),
        ("UNAVAILABLE", "Request for unknown model: 'm' is not found", errors.ServerUnavailable, 3, "not loaded"),
        ("NOT_FOUND", "unknown model: 'm' has no available versions", errors.ServerUnavailable, 3, "try again later"),
        ("UNAVAILABLE", "Server exiting", errors.ServerUnavailable, 3, "try again later"),
        ("UNAVAILABLE", "failed to connect to all addresses; x: Socket closed", errors.ServerUnavailable, 3, "8001"),
        ("UNAVAILABLE", "Socket closed", errors.ServerUnavailable, 3, "no server answers"),
        ("CANCELLED", "CANCELLED", errors.ServerUnavailable, 3, "the server broke the call off"),
        ("CANCELLED", "Channel closed!", errors.ClientError, 1, "CANCELLED (Channel closed!)"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", errors.DeadlineExceeded, 5, "no answer within 2.5 s"),
        ("NOT_FOUND", "unknown model", errors.ContractMismatch, 4, "expected a Triton server with the ensemble"),
        ("UNIMPLEMENTED", "", errors.ContractMismatch, 4, "expected a Triton server with the ensemble"),
        ("INTERNAL", "stub died\nat line 3", errors.ClientError, 1, "INTERNAL (stub died at line 3)"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "StatusCode."])
def test_a_status_becomes_one_error(
    prefix: str, status: str, details: str, kind: type[errors.ClientError], exit_code: int, text: str
) -> None:
    error = errors.from_status(prefix + status, details, "host:1", 2.5)
    assert type(error) is kind
    assert error.exit_code == exit_code
    assert "host:1" in str(error)
    assert text in str(error)
    assert "\n" not in str(error)
