"""What is wrong with the files of TLS is said in one line before a server starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from maskline_serve.errors import CertificateError
from maskline_serve.server.front_door.tls import ServerTls, asked_for
from serve.front_door.certificates import CLIENT, SERVER, Authority
from serve.test_startup import fails

CERTIFICATE, KEY, CA, OWN, OWN_KEY = (Path(name) for name in ("certificate", "key", "ca", "own", "own.key"))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((CERTIFICATE, None, None, None, None), "--tls-certificate: got it without --tls-key, expected both or none"),
        ((None, KEY, None, None, None), "--tls-key: got it without --tls-certificate, expected both or none"),
        ((CERTIFICATE, KEY, CA, OWN, None), "--tls-own-certificate: got it without --tls-own-key"),
        ((None, None, CA, None, None), "--tls-ca: got it alone, expected --tls-certificate and --tls-key with it"),
        ((None, None, None, OWN, OWN_KEY), "--tls-own-certificate: got it alone, expected --tls-certificate"),
        ((CERTIFICATE, KEY, None, OWN, OWN_KEY), "--tls-own-certificate: got it without --tls-ca"),
    ],
)
def test_half_a_set_of_options_is_refused(given: tuple[Path | None, ...], text: str) -> None:
    with pytest.raises(CertificateError, match=text):
        asked_for(*given)


def test_options_that_go_together() -> None:
    assert asked_for(None, None, None, None, None) is None
    assert asked_for(CERTIFICATE, KEY, CA, OWN, OWN_KEY) == ServerTls(CERTIFICATE, KEY, CA, OWN, OWN_KEY)


def test_a_good_pair_gives_a_name_to_ask_for(ours: Authority) -> None:
    for hosts, name in (
        (("a.example.org",), "a.example.org"),
        (("10.0.0.7",), "10.0.0.7"),
        (("*.b.org",), "canary.b.org"),
    ):
        pair = ours.issue(f"names {name}", hosts=hosts)
        assert ServerTls(pair.certificate, pair.key, ours.certificate).name() == name


def bad_files(ours: Authority, others: Authority, folder: Path) -> dict[str, tuple[ServerTls, str]]:
    """Files that must be refused, and what is said of them."""
    good, other = ours.issue("good"), ours.issue("other")
    late, early = ours.issue("late", valid_days=(-3, -1)), ours.issue("early", valid_days=(1, 3))
    closed, nameless = ours.issue("closed", passphrase=b"secret"), ours.issue("nameless", hosts=())
    server, client = ours.issue("server", usages=(SERVER,)), ours.issue("client", usages=(CLIENT,))
    stranger, old = others.issue("stranger"), Authority(folder, "old", valid_days=(-9, -1))
    mess = folder / "mess.pem"
    mess.write_text("no certificate\n")
    gone = folder / "gone.pem"
    return {
        "no certificate": (ServerTls(gone, good.key), "gone.pem: cannot be read .No such file"),
        "no key": (ServerTls(good.certificate, gone), "gone.pem: cannot be read .No such file"),
        "no authority": (ServerTls(good.certificate, good.key, gone), "gone.pem: cannot be read .No such file"),
        "a mess for a certificate": (
            ServerTls(mess, good.key),
            "mess.pem, .*, expected a certificate and its key, both PEM",
        ),
        "a mess for a key": (ServerTls(good.certificate, mess), "mess.pem: got .*, expected a certificate and its key"),
        "a mess for an authority": (ServerTls(good.certificate, good.key, mess), "mess.pem: got .*, expected PEM"),
        "another's key": (ServerTls(good.certificate, other.key), "other.key: got another key than that of .*good.pem"),
        "a passphrase": (ServerTls(closed.certificate, closed.key), "closed.key: got a key with a passphrase"),
        "too late": (ServerTls(late.certificate, late.key), "late.pem: got .* clients refuse .certificate has expired"),
        "too early": (ServerTls(early.certificate, early.key), "early.pem: got .* .certificate is not yet valid"),
        "no name": (
            ServerTls(nameless.certificate, nameless.key),
            "nameless.pem: got a certificate that names no host",
        ),
        "for clients": (ServerTls(client.certificate, client.key), "client.pem: got .* clients refuse .unsuitable"),
        "own one for servers": (
            ServerTls(server.certificate, server.key, ours.certificate),
            "server.pem: got a certificate that --tls-ca .*ca.pem refuses .*--tls-own-certificate",
        ),
        "own one of another authority": (
            ServerTls(good.certificate, good.key, ours.certificate, stranger.certificate, stranger.key),
            "stranger.pem: got a certificate that --tls-ca .* refuses",
        ),
        "an authority over its date": (
            ServerTls(good.certificate, good.key, old.certificate, *pair_of(old)),
            "refuses .certificate has expired",
        ),
    }


def pair_of(authority: Authority) -> tuple[Path, Path]:
    pair = authority.issue("late authority")
    return pair.certificate, pair.key


BAD = (
    "no certificate",
    "no key",
    "no authority",
    "a mess for a certificate",
    "a mess for a key",
    "a mess for an authority",
    "another's key",
    "a passphrase",
    "too late",
    "too early",
    "no name",
    "for clients",
    "own one for servers",
    "own one of another authority",
    "an authority over its date",
)


@pytest.mark.parametrize("what", BAD)
def test_bad_files_are_refused(ours: Authority, others: Authority, tmp_path: Path, what: str) -> None:
    tls, text = bad_files(ours, others, tmp_path)[what]
    with pytest.raises(CertificateError, match=text) as caught:
        tls.name()
    assert "\n" not in str(caught.value)


def test_all_of_them_are_tried(ours: Authority, others: Authority, tmp_path: Path) -> None:
    assert set(bad_files(ours, others, tmp_path)) == set(BAD)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_key_that_may_not_be_read(ours: Authority, tmp_path: Path) -> None:
    pair = ours.issue("unreadable")
    pair.key.chmod(0)
    with pytest.raises(CertificateError, match=r"unreadable.key: cannot be read .Permission denied"):
        ServerTls(pair.certificate, pair.key).name()


@pytest.mark.triton
def test_the_command_says_it_in_one_line(repository: Path, ours: Authority) -> None:
    pair, late = ours.issue("fine"), ours.issue("late", valid_days=(-3, -1))
    line = fails(["run", repository, "--tls-certificate", late.certificate, "--tls-key", late.key])
    assert "late.pem: got a certificate that clients refuse (certificate has expired)" in line
    assert "--tls-key" in fails(["run", repository, "--tls-certificate", pair.certificate])
