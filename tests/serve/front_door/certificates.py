"""Authorities and certificates as PEM files, made in the test: good ones, and each kind of bad one."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclasses.dataclass(frozen=True)
class Pair:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A private authority in a folder of its own; each certificate lies there under its common name."""

    def __init__(self, folder: Path, name: str = "authority", valid_days: tuple[float, float] = (-1, 30)) -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        builder = _dated(self._name, self._name, self._key.public_key(), valid_days)
        certificate = builder.add_extension(basic, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = self.folder / "ca.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
        usages: tuple[x509.ObjectIdentifier, ...] = (SERVER, CLIENT),
        valid_days: tuple[float, float] = (-1, 30),
        passphrase: bytes | None = None,
    ) -> Pair:
        """A certificate of this authority.

        Args:
            name: its common name, and that of its files.
            hosts: what it is for: names and IP addresses; none leaves the extension out.
            usages: server, client or both.
            valid_days: from and to, in days from now.
            passphrase: of the key's file.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _dated(subject, self._name, key.public_key(), valid_days)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        closed = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        kind = serialization.PrivateFormat.PKCS8
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, closed))
        return pair


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid_days: tuple[float, float]
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    start, end = (now + days * DAY for days in valid_days)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
