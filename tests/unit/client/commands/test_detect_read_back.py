"""`detections.json` is a COCO file like any other: it is read back as annotations of the folder it came from."""

import shutil
from pathlib import Path

import pytest
from maskline_client import contract
from maskline_coco.split import read_split
from maskline_coco.truth import ground_truth
from unit.client.commands.test_cli import photo, run
from unit.client.triton_double import BOXES_ALONE, WITH_BOTH, WITH_KEYPOINTS, WITH_MASKS, Server


@pytest.mark.parametrize("outputs", [WITH_MASKS, BOXES_ALONE, WITH_KEYPOINTS, WITH_BOTH], ids=["m", "b", "k", "mk"])
@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
def test_what_detect_writes_reads_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: tuple[contract.TensorSpec, ...], relative
) -> None:
    server.script.outputs = outputs
    photo(tmp_path / "photos" / "sub" / "a.png")
    photo(tmp_path / "photos" / "sub" / "b.png")
    monkeypatch.chdir(tmp_path)
    folder = Path("photos") if relative else tmp_path / "photos"
    result = run("detect", folder, "--out", tmp_path / "out", "--url", server.url)
    assert result.returncode == 0, result.stderr
    (tmp_path / "annotations").mkdir()
    shutil.copy(tmp_path / "out" / "detections.json", tmp_path / "annotations" / "instances_photos.json")
    split = read_split(tmp_path, "photos")
    assert [record.file_name for record in split.records] == ["sub/a.png", "sub/b.png"]
    assert [len(record.annotations) for record in split.records] == [5, 5]
    assert len(ground_truth(split.records, split.categories).anns) == (10 if contract.MASK_RLE in outputs else 0)
