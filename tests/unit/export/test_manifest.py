"""The manifest's round trip, and one clear line for every artifact that is not what it says."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from maskline_export.errors import ContractError
from maskline_export.manifest import (
    FORMAT,
    LabelsInfo,
    Manifest,
    StageInfo,
    TensorInfo,
    identities,
    load_artifact,
    sha256,
)
from support.models.tiny import tiny_spec


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An artifact of one stage whose file is not read by anybody here."""
    (tmp_path / "labels.txt").write_text("circle\nsquare\nstar\n", encoding="utf-8")
    (tmp_path / "mask.onnx").write_bytes(b"not really ONNX")
    stage = StageInfo(
        "mask.onnx",
        sha256(tmp_path / "mask.onnx"),
        {"MultiscaleRoIAlign": 1},
        (TensorInfo("p2", "FP32", ("B", 8, "H2", "W2")),),
        (TensorInfo("masks", "FP32", ("B", 100, 28, 28)),),
    )
    labels = LabelsInfo("labels.txt", sha256(tmp_path / "labels.txt"))
    Manifest("0.1.0", tiny_spec(), "ort", "fp32", 20, {"torch": "2"}, "0" * 64, labels, {"mask": stage}).save(tmp_path)
    return tmp_path


def edit(artifact: Path, **changes: Any) -> None:
    path = artifact / "manifest.json"
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))


def test_round_trip(artifact: Path) -> None:
    manifest = load_artifact(artifact)
    assert manifest.spec == tiny_spec()
    assert manifest.stages["mask"].inputs[0].shape == ("B", 8, "H2", "W2")
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest
    assert not list(artifact.glob(".*"))


def test_keys_are_those_of_the_contract(artifact: Path) -> None:
    data = json.loads((artifact / "manifest.json").read_text())
    keys = "format maskline spec bodies precision opset tools checkpoint_sha256 labels stages"
    assert list(data) == keys.split()
    assert data["format"] == FORMAT == "maskline-artifact/1"
    assert data["spec"]["format"] == "maskline-model/1"
    assert set(data["stages"]["mask"]) == {"file", "sha256", "custom_ops", "inputs", "outputs"}
    assert data["stages"]["mask"]["outputs"] == [{"name": "masks", "dtype": "FP32", "shape": ["B", 100, 28, 28]}]


def as_of_an_earlier_release(artifact: Path, parity: object) -> str:
    """The manifest with the report inside, which had the format of ours; its hash."""
    data = json.loads((artifact / "manifest.json").read_text()) | {"parity": parity}
    text = json.dumps(data, indent=2) + "\n"
    (artifact / "manifest.json").write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_artifact_is_known_by_its_manifest(artifact: Path) -> None:
    assert identities(artifact) == {sha256(artifact / "manifest.json")}


def test_an_artifact_that_an_earlier_release_verified_is_known_by_what_it_was_before_too(artifact: Path) -> None:
    now = load_artifact(artifact)
    before = as_of_an_earlier_release(artifact, None)
    assert identities(artifact) == {before}
    after = as_of_an_earlier_release(artifact, {"line": "fp32", "rows": [{"max_error": 1.25e-06, "ok": True}]})
    assert identities(artifact) == {before, after}
    assert load_artifact(artifact) == now


def test_an_artifact_with_another_weight_is_another(artifact: Path) -> None:
    before = identities(artifact)
    (artifact / "mask.onnx").write_bytes(b"not really ONNX, either")
    manifest = Manifest.from_dict(json.loads((artifact / "manifest.json").read_text()))
    stage = dataclasses.replace(manifest.stages["mask"], sha256=sha256(artifact / "mask.onnx"))
    dataclasses.replace(manifest, stages={"mask": stage}).save(artifact)
    assert not identities(artifact) & before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "maskline-artifact/2"}, "got format 'maskline-artifact/2', expected 'maskline-artifact/1'"),
        ({"format": ...}, "got format None"),
        ({"stages": ...}, "missing entry 'stages'"),
        ({"opset": ...}, "malformed.*opset"),
        ({"colour": "red"}, "malformed.*colour"),
        ({"spec": {"format": "maskline-model/9"}}, "malformed.*maskline-model/9"),
        ({"stages": {"mask": {"file": "mask.onnx"}}}, "missing entry"),
        ({"stages": []}, "malformed"),
    ],
    ids=str,
)
def test_a_manifest_that_does_not_fit(artifact: Path, changes: dict[str, Any], words: str) -> None:
    edit(artifact, **changes)
    with pytest.raises(ContractError, match=words) as caught:
        load_artifact(artifact)
    assert "\n" not in str(caught.value)
    assert "export the checkpoint again" in str(caught.value)


def test_masks_of_an_earlier_release(artifact: Path) -> None:
    """They were whole numbers of 255; the stages would run, and verify would find them 255 times too large."""
    data = json.loads((artifact / "manifest.json").read_text())
    data["stages"]["mask"]["outputs"][0]["dtype"] = "UINT8"
    (artifact / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(
        ContractError, match=r"got masks UINT8 of maskline .*, expected FP32.*; export the checkpoint aga"
    ):
        load_artifact(artifact)


def test_a_changed_file(artifact: Path) -> None:
    (artifact / "mask.onnx").write_bytes(b"something else")
    found = hashlib.sha256(b"something else").hexdigest()[:12]
    with pytest.raises(ContractError, match=rf"mask\.onnx: got sha256 {found}.*changed after export"):
        load_artifact(artifact)


def test_changed_labels(artifact: Path) -> None:
    (artifact / "labels.txt").write_text("cat\n")
    with pytest.raises(ContractError, match=r"labels\.txt: got sha256"):
        load_artifact(artifact)


def test_a_missing_file(artifact: Path) -> None:
    (artifact / "mask.onnx").unlink()
    with pytest.raises(ContractError, match=r"mask\.onnx: missing"):
        load_artifact(artifact)


@pytest.mark.parametrize(("text", "words"), [("{", "not JSON"), ("[]", "got a JSON list"), ("\xff", "not JSON")])
def test_a_file_that_is_no_manifest(artifact: Path, text: str, words: str) -> None:
    (artifact / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ContractError, match=words):
        load_artifact(artifact)


def test_a_folder_that_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=re.escape(f"{tmp_path}: cannot read manifest.json (No such file")):
        load_artifact(tmp_path)


@pytest.mark.parametrize("name", ["../mask.onnx", "/etc/passwd", "", "..", "a\nb", 5, None])
@pytest.mark.parametrize("part", ["labels", "mask"])
def test_a_file_outside_the_artifact(artifact: Path, name: object, part: str) -> None:
    data = json.loads((artifact / "manifest.json").read_text())
    (data["labels"] if part == "labels" else data["stages"]["mask"])["file"] = name
    with pytest.raises(ContractError, match=r"got file name .*, expected a plain name inside the artifact"):
        edit_all(artifact, data)


def edit_all(artifact: Path, data: object) -> None:
    (artifact / "manifest.json").write_text(json.dumps(data))
    load_artifact(artifact)


@pytest.mark.parametrize("wrong", [7, None, "", "a\nb"])
def test_a_hash_that_is_none(artifact: Path, wrong: object) -> None:
    data = json.loads((artifact / "manifest.json").read_text())
    data["stages"]["mask"]["sha256"] = wrong
    with pytest.raises(ContractError, match=r"^[^\n]*mask\.onnx: got sha256 [^\n]*, expected a hash in hexadecimal"):
        edit_all(artifact, data)


def test_lists_thousands_deep_in_each_other(artifact: Path) -> None:
    (artifact / "manifest.json").write_text("[" * 5000)
    with pytest.raises(ContractError, match=r"^[^\n]*not JSON[^\n]*$"):
        load_artifact(artifact)


def test_a_value_as_long_as_the_file_is_cut_in_the_message(artifact: Path) -> None:
    data = json.loads((artifact / "manifest.json").read_text())
    data["spec"]["mask_head"]["paste"] = ["x" * 100_000]
    with pytest.raises(ContractError, match=r"^[^\n]{1,700}$"):
        edit_all(artifact, data)
