"""What of Triton's protocol is closed, and the key that opens it.

Whoever reaches a port may call every group of calls that Triton knows, unless the group asks for a header. Ours ask for
a key that is made anew at each start and that the starting process alone is told. Triton takes the key by its command
line and by nothing else (release 24.10), where other users of the same machine can read it in the list of processes.
"""

from __future__ import annotations

import secrets

# Triton's names of the groups: docs/security.md says which calls each has, and who needs it.
GROUPS = (
    "health",
    "metadata",
    "inference",
    "shared-memory",
    "model-config",
    "model-repository",
    "statistics",
    "trace",
    "logging",
)
SHARED_MEMORY = "shared-memory"
# Not needed to call a model or to see that it is well. The rest is what `health`, `bench` and `verify --url` ask for.
CLOSED = (SHARED_MEMORY, "model-repository", "trace", "logging")
OPEN_BESIDE_TLS = "health"  # over HTTP, which has no TLS: nobody is to call a model around it
HEADER = "maskline-key"
GRPC_PREFIX = "triton-grpc-protocol-"  # Triton's own, before the name of every such header
_KEY_BYTES = 32


def new_key() -> str:
    """A key that nobody can guess."""
    return secrets.token_hex(_KEY_BYTES)


def flags(key: str, *, shared_memory: bool, tls: bool) -> list[str]:
    """Flags that close the groups.

    Args:
        key: what opens them.
        shared_memory: leave the clients' shared memory open.
        tls: gRPC has TLS, so HTTP answers health alone.
    """
    closed = [group for group in CLOSED if not (shared_memory and group == SHARED_MEMORY)]
    over_http = [group for group in GROUPS if group != OPEN_BESIDE_TLS] if tls else closed
    return [
        f"--grpc-restricted-protocol={','.join(closed)}:{HEADER}={key}",
        f"--http-restricted-api={','.join(over_http)}:{HEADER}={key}",
    ]


def grpc_headers(key: str) -> dict[str, str]:
    """The headers of a gRPC call (`headers` of tritonclient) that open every group."""
    return {f"{GRPC_PREFIX}{HEADER}": key}


def http_headers(key: str) -> dict[str, str]:
    """The headers of an HTTP request that open every group."""
    return {HEADER: key}
