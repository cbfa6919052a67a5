"""Names of files and classes are printed as they are: rich would read "[x]" as a style and ":x:" as a picture."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("client/maskline_client", "train", "export/maskline_export", "triton_repo/maskline_serve")
PLAIN = {"Console": {"markup", "emoji"}, "TextColumn": {"markup"}}  # what each must be told not to read


def calls(package: str) -> Iterator[tuple[str, str, set[str]]]:
    """(place, what is made, its keywords that are False)."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLAIN:
                off = {
                    word.arg or ""
                    for word in node.keywords
                    if isinstance(word.value, ast.Constant) and not word.value.value
                }
                fixed = (
                    bool(node.args) and isinstance(node.args[0], ast.Constant) and "{" not in str(node.args[0].value)
                )
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.func.id, PLAIN[node.func.id] if fixed else off


def test_no_console_reads_markup() -> None:
    found = [call for package in PACKAGES for call in calls(package)]
    assert found
    assert not [place for place, made, off in found if not off >= PLAIN[made]]
