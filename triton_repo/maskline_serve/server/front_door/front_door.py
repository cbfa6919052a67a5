"""`FrontDoor`: where a server listens, who may call it, and how its own process calls it."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

from maskline_serve.server.front_door import restricted
from maskline_serve.server.front_door.tls import ServerTls

# No proxy stands between us and a server on this machine, whatever the environment says. tritonclient drops its own
# limits of message sizes when it is given any option: they are none here too.
_CHANNEL = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
# The services are gRPC, HTTP and metrics, whatever the environment says: AIP_MODE=PREDICTION would open Vertex AI's in
# their place, another way to the same models.
_SERVICES = ("--allow-grpc=true", "--allow-http=true", "--allow-sagemaker=false", "--allow-vertex-ai=false")


@dataclasses.dataclass(frozen=True)
class FrontDoor:
    """Who may reach a server, and for what.

    Attributes:
        host: address of gRPC.
        http_host: address of HTTP and metrics, which have no TLS; None: that of gRPC if it is loopback, else loopback.
        tls: None for plain gRPC.
        shared_memory: clients on the server's machine may hand over tensors in memory that they share with it.
        key: opens what is closed; a new one each, so that a server's is known to whoever started it alone.
    """

    host: str = "127.0.0.1"
    http_host: str | None = None
    tls: ServerTls | None = None
    shared_memory: bool = False
    key: str = dataclasses.field(default_factory=restricted.new_key, repr=False)

    @property
    def plain_host(self) -> str:
        """Address of HTTP and metrics."""
        if self.http_host is not None or is_loopback(self.host):
            return self.http_host or self.host
        return "::1" if ":" in self.host else "127.0.0.1"

    @property
    def headers(self) -> dict[str, str]:
        """`headers` of a call by tritonclient over gRPC that may use what is closed, model control among it."""
        return restricted.grpc_headers(self.key)

    def warnings(self) -> list[str]:
        """What a person should know before others reach the server, a line each."""
        found = []
        if not is_loopback(self.host) and self.tls is None:
            found.append(f"gRPC on {self.host} without TLS: whoever reaches it may call, and what is sent can be read")
        if not is_loopback(self.plain_host):
            found.append(f"HTTP and metrics on {self.plain_host}: they have no TLS, and ask nobody")
        return found

    def flags(self) -> list[str]:
        """Flags for the server, but for its addresses."""
        tls = [] if self.tls is None else self.tls.flags()
        closed = restricted.flags(self.key, shared_memory=self.shared_memory, tls=self.tls is not None)
        return [*tls, *closed, *_SERVICES]

    def client_arguments(self, url: str) -> dict[str, Any]:
        """Keyword arguments of tritonclient's `InferenceServerClient` for our own calls.

        Args:
            url: `host:port` of gRPC.

        Raises:
            CertificateError: the files of TLS are not right.
        """
        arguments: dict[str, Any] = {"url": url, "channel_args": list(_CHANNEL)}
        if self.tls is not None:
            # We call by the address that the server listens on, of which no certificate has to know.
            arguments["channel_args"].append(("grpc.ssl_target_name_override", self.tls.name()))
            arguments["creds"] = self.tls.credentials()
        return arguments


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
