"""What the options that reach the server become: a connection, the same for every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from maskline_client.commands.connection_options import with_connection
from maskline_client.connection import DEFAULT_DEADLINE_S, DEFAULT_URL, Connection, Tls
from typer.testing import CliRunner


def told(*arguments: str, deadline_s: float = DEFAULT_DEADLINE_S) -> tuple[Connection, Path, int]:
    """What a command with two parameters of its own gets."""
    app, got = typer.Typer(), []

    @app.command()
    @with_connection(deadline_s)
    def command(
        connection: Connection, folder: Annotated[Path, typer.Argument()], count: Annotated[int, typer.Option()] = 7
    ) -> None:
        got.append((connection, folder, count))

    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return got[0]


def test_without_options_it_is_a_plain_connection_to_this_machine() -> None:
    assert told("photos") == (Connection(DEFAULT_URL, DEFAULT_DEADLINE_S), Path("photos"), 7)
    assert told("photos", deadline_s=2.5)[0].deadline_s == 2.5


def test_each_option_arrives_where_it_belongs() -> None:
    words = "photos --count 3 --url host:1 --deadline 4 --tls-ca a.pem --tls-key k.pem --tls-certificate c.pem"
    tls = Tls(ca=Path("a.pem"), key=Path("k.pem"), certificate=Path("c.pem"))
    assert told(*words.split()) == (Connection("host:1", 4.0, tls=tls), Path("photos"), 3)


@pytest.mark.parametrize(
    ("words", "tls"),
    [
        ("--tls", Tls()),
        ("--tls-ca a.pem", Tls(ca=Path("a.pem"))),
        ("--tls-key k.pem", Tls(key=Path("k.pem"))),
        ("--tls-certificate c.pem", Tls(certificate=Path("c.pem"))),
    ],
)
def test_any_of_the_tls_options_asks_for_an_encrypted_connection(words: str, tls: Tls) -> None:
    assert told("photos", *words.split())[0].tls == tls
