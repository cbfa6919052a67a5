"""JSON files that lie: each reader refuses by its own error, in one short line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from maskline_serve.errors import ArtifactError, RepositoryError
from maskline_serve.repository import artifact
from maskline_serve.repository.on_disk import Repository
from serve import standin

LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a text where the backbone should be": lambda data: data["spec"].update(backbone="x"),
    "a text where the mask head should be": lambda data: data["spec"].update(mask_head="x"),
    "an infinite side": lambda data: data["spec"]["preprocessing"].update(shorter_side_px=float("inf")),
    "a name longer than a file's can be": lambda data: data["labels"].update(file="x" * 5000),
    "names with line breaks": lambda data: data["stages"]["mask"]["outputs"][0].update(name="a\nb"),
    "a very long value": lambda data: data["spec"]["preprocessing"].update(
        canvases=[], canvas_multiple=None, x="y" * 9999
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies(lie: str, tmp_path: Path) -> None:
    folder = standin.write_artifact(tmp_path / "artifact")
    data = json.loads((folder / "manifest.json").read_text())
    LIES[lie](data)
    (folder / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(ArtifactError) as caught:
        artifact.read(folder)
    text = str(caught.value).removeprefix(str(folder))
    assert len(text.splitlines()) == 1
    assert len(text) < 800


@pytest.mark.parametrize("text", ["[" * 5000, "9" * 5000, "\xff"])
def test_what_breaks_a_reader_of_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "repository.json").write_bytes(text.encode("latin1"))
    with pytest.raises(RepositoryError, match=r"^[^\n]*not JSON[^\n]*$"):
        Repository.load(tmp_path)
