"""SECURITY.md and docs/security.md: each test that they name is there, and their tables are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer
from maskline_client.cli import app as client
from maskline_serve.commands import app as serve
from maskline_serve.server.front_door import restricted
from unit.serve.test_compose import OLDEST

ROOT = Path(__file__).parents[3]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("SECURITY.md", "docs/security.md")}
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
# Triton's own, named beside ours; tests/serve/front_door/test_container.py asks the server for those that we set.
TRITONS = {
    "--exit-on-error", "--disable-auto-complete-config", "--strict-readiness", "--model-control-mode", "--allow-http",
    "--allow-metrics", "--allow-grpc", "--grpc-use-ssl", "--grpc-use-ssl-mutual", "--grpc-restricted-protocol",
    "--http-restricted-api", "--allow-sagemaker", "--allow-vertex-ai", "--trace-config", "--backend-directory",
    "--repoagent-directory", "--cache-directory",
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    named = set(TEST.findall(PAGES[page]))
    assert len(named) > 10
    for file, function in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        known = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not function or function in known, f"{page}: {file} has no {function}"


def test_the_groups_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (open|closed)\b", PAGES["docs/security.md"], re.MULTILINE)
    assert [name for name, _ in rows if name in restricted.CLOSED] == [
        name for name, state in rows if state == "closed"
    ]
    assert {name for name, _ in rows} == set(restricted.GROUPS)


def test_every_option_is_one_of_ours_or_of_tritons() -> None:
    ours = {
        option
        for app in (client, serve)
        for command in typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        for option in parameter.opts
    }
    named = set(OPTION.findall(PAGES["docs/security.md"] + PAGES["SECURITY.md"])) - {"--user", "--version"}
    assert named >= TRITONS
    assert named <= ours | TRITONS
    assert {"--tls-own-certificate", "--tls-ca", "--shared-memory", "--http-host"} <= named


def test_the_oldest_release_is_the_one_that_the_containers_are_held_to() -> None:
    oldest = "{}.{:02}".format(*OLDEST)
    assert all(f"release {oldest} or later" in " ".join(page.split()) for page in PAGES.values())
