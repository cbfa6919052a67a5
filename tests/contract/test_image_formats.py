"""Pillow opens files by a list of formats, never by all its readers: the server's list, and that of data sets."""

import ast
from pathlib import Path

import pytest
from maskline_client import images as client
from maskline_train.data import images as train
from support.serving import model_files

ROOT = Path(__file__).parents[2]
server = model_files.load("models/preprocess/1/images.py")
FOLDERS = ("train", "client", "export", "triton_repo", "plugins", "demo")


def test_the_client_has_the_servers_list_and_data_sets_hold_these_too() -> None:
    assert server.FORMATS == client.FORMATS == train.FORMATS[: len(server.FORMATS)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_call_that_opens_a_picture_says_which_formats(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
                given = {keyword.arg for keyword in node.keywords}
                assert "formats" in given, f"{path.relative_to(ROOT)}:{node.lineno}: Image.open without formats"
