"""The server's TLS: which files, whether they go together, and how our own calls get through.

What a client or the server would find wrong with them is found before the start, by a handshake between two ends in
this process: dates, the key, the authority of the clients.
"""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path
from typing import Any, NoReturn

import grpc

from maskline_serve.errors import CertificateError

_ROUNDS = 10  # a handshake takes three at most


@dataclasses.dataclass(frozen=True)
class ServerTls:
    """TLS of a server's gRPC port. All files are PEM.

    Attributes:
        certificate: the server's, behind it those of the authorities between it and its root.
        key: its private key, without a passphrase.
        client_ca: mutual TLS: who calls must show a certificate of one of these authorities. None: anyone may call.
        own_certificate: under mutual TLS what our own calls show, the canary image first; None: `certificate`.
        own_key: the private key of that.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    own_certificate: Path | None = None
    own_key: Path | None = None

    def flags(self) -> list[str]:
        """Flags for the server; it reads the files once, when it starts."""
        found = ["--grpc-use-ssl=true"]
        if self.client_ca is not None:
            found = ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={self.client_ca.resolve()}"]
        return [
            *found,
            f"--grpc-server-cert={self.certificate.resolve()}",
            f"--grpc-server-key={self.key.resolve()}",
        ]

    def credentials(self) -> grpc.ChannelCredentials:
        """Of our own calls: they trust this very certificate and show ours where the server asks for one."""
        shown = (None, None) if self.client_ca is None else tuple(_read(path) for path in reversed(self._own()))
        return grpc.ssl_channel_credentials(_read(self.certificate), *shown)

    def name(self) -> str:
        """A name that the certificate is for, after every check that needs no server; our own calls ask for it.

        Raises:
            CertificateError: a file cannot be read or is no PEM file, they do not belong together, a date is over, the
                certificate names no host, or our own would be refused by the server.
        """
        for path in (self.certificate, self.key, *self._own(), *([self.client_ca] if self.client_ca else [])):
            _read(path)
        found = _handshake(self._server_side(), self._client_side(), self)
        names = [value for kind, value in found.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
        if not names:
            raise CertificateError(
                f"{self.certificate}: got a certificate that names no host, expected a subjectAltName, without which "
                "every client refuses it"
            )
        return str(names[0]).replace("*", "canary", 1)

    def _own(self) -> tuple[Path, Path]:
        """Certificate and key of our own calls."""
        if self.own_certificate is None or self.own_key is None:
            return self.certificate, self.key
        return self.own_certificate, self.own_key

    def _server_side(self) -> ssl.SSLContext:
        """As the server does it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load(context, self.certificate, self.key)
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            _trust(context, self.client_ca)
        return context

    def _client_side(self) -> ssl.SSLContext:
        """As our own calls do it; the name is not compared, since it is what is asked for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is trusted, not its authority
        _trust(context, self.certificate)
        if self.client_ca is not None:
            _load(context, *self._own())
        return context


def asked_for(
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    own_certificate: Path | None,
    own_key: Path | None,
) -> ServerTls | None:
    """The TLS that the options of `maskline-serve run` ask for; None for none.

    Raises:
        CertificateError: one of a pair without the other, or without what it is for.
    """
    _both("--tls-certificate", certificate, "--tls-key", key)
    _both("--tls-own-certificate", own_certificate, "--tls-own-key", own_key)
    if certificate is None or key is None:
        if client_ca or own_certificate:
            option = "--tls-ca" if client_ca else "--tls-own-certificate"
            raise CertificateError(f"{option}: got it alone, expected --tls-certificate and --tls-key with it")
        return None
    if own_certificate and not client_ca:
        raise CertificateError("--tls-own-certificate: got it without --tls-ca, expected both: nobody would ask for it")
    return ServerTls(certificate, key, client_ca, own_certificate, own_key)


def _both(first: str, one: Path | None, second: str, other: Path | None) -> None:
    if (one is None) != (other is None):
        given, missing = (first, second) if other is None else (second, first)
        raise CertificateError(f"{given}: got it without {missing}, expected both or none")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read ({error.strerror}), expected a PEM file") from None


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Let one end show a certificate."""

    def passphrase() -> NoReturn:
        raise CertificateError(f"{key}: got a key with a passphrase, expected one without; the server cannot ask")

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key}: got another key than that of the certificate {certificate}") from None
        raise CertificateError(
            f"{certificate}, {key}: got {_reason(error)}, expected a certificate and its key, both PEM"
        ) from None


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        raise CertificateError(f"{authorities}: got {_reason(error)}, expected PEM certificates") from None


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, tls: ServerTls) -> dict[str, Any]:
    """The server's certificate as a client reads it, once both ends agree."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller, called = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    agreed: set[ssl.SSLObject] = set()
    for _ in range(_ROUNDS):
        if _step(caller, f"{tls.certificate}: got a certificate that clients refuse"):
            agreed.add(caller)
        if _step(called, f"{tls._own()[0]}: got a certificate that --tls-ca {tls.client_ca} refuses"):
            agreed.add(called)
        if len(agreed) == 2:  # in TLS 1.3 the server looks at the client's certificate last
            return caller.getpeercert() or {}
    raise CertificateError(f"{tls.certificate}: no handshake came about; look at the file with `openssl x509 -text`")


def _step(end: ssl.SSLObject, refused: str) -> bool:
    """Go on with one end; whether it is through."""
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(
            f"{refused} ({error.verify_message}), expected a valid one; our own calls show one too under --tls-ca: "
            "--tls-own-certificate and --tls-own-key where the server's is not for clients"
            if end.server_side
            else f"{refused} ({error.verify_message}), expected a valid one"
        ) from None
    except ssl.SSLError as error:
        raise CertificateError(f"{refused}: {_reason(error)}") from None
    return True


def _reason(error: ssl.SSLError) -> str:
    """The library's own word, in ours."""
    return (error.reason or "something else").lower().replace("_", " ")
