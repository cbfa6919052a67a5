"""`assemble` and `doctor` on disk: what is written, what is refused, what is found. Starts no server of its own."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shutil
from pathlib import Path

import onnx
import pytest
from maskline_serve.doctor import Level, examine
from maskline_serve.errors import ArtifactError, RepositoryError
from maskline_serve.repository import config, config_parts
from maskline_serve.repository.artifact import read
from maskline_serve.repository.assemble import assemble, sources
from maskline_serve.repository.description import sha256
from maskline_serve.repository.names import ENSEMBLES, word_of
from maskline_serve.repository.on_disk import FILE, Repository
from maskline_train.spec import PreprocessingSpec
from serve import standin
from support.export import external_files
from support.served_models import model_of

BASELINE = 256  # C of the committed configs


def parsed(repository, model):
    path = model_of(repository, model) / "config.pbtxt"
    return config.parse(path.read_text(encoding="utf-8"), path)


def dims(tensors):
    return {tensor.name: list(tensor.dims) for tensor in tensors}


@pytest.fixture
def own_artifact(artifact, tmp_path):
    return Path(shutil.copytree(artifact, tmp_path / "artifact"))


@pytest.fixture
def own_repository(artifact, tmp_path):
    assemble(artifact, tmp_path / "repository")
    return tmp_path / "repository"


def rewrite(artifact, change):
    """Change manifest.json by a function of its dict."""
    path = artifact / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


# ---- what is written


def test_stages_lie_where_triton_looks(artifact, repository):
    for stage in ("backbone", "proposal", "mask"):
        copied = model_of(repository, stage) / "1" / "model.onnx"
        assert copied.read_bytes() == (artifact / f"{stage}.onnx").read_bytes()


def test_sizes_of_the_artifact_are_written_everywhere(repository):
    assert dims(parsed(repository, "backbone").output)["p2"] == [8, -1, -1]
    assert dims(parsed(repository, "proposal").input)["p5"] == [8, -1, -1]
    for model in ("mask", "maskrcnn_raw", "maskrcnn_engines", "postprocess_raw"):
        assert dims(parsed(repository, model).output)["masks"] == [100, 14, 14], model
    assert dims(parsed(repository, "postprocess").input)["masks"] == [100, 14, 14]


def test_another_number_of_detections_reaches_the_wire(tmp_path):
    spec = dataclasses.replace(standin.SPEC, box_head=dataclasses.replace(standin.SPEC.box_head, max_detections=20))
    assemble(standin.write_artifact(tmp_path / "artifact", spec), tmp_path / "repository")
    outputs = dims(parsed(tmp_path / "repository", "maskrcnn").output)
    assert outputs["boxes"] == [20, 4]
    assert outputs["mask_rle"] == outputs["labels"] == outputs["scores"] == [20]
    assert outputs["num_detections"] == [1]
    assert Repository.load(tmp_path / "repository").max_detections == 20


def test_the_paste_rule_reaches_the_step(tmp_path):
    spec = dataclasses.replace(standin.SPEC, mask_head=dataclasses.replace(standin.SPEC.mask_head, paste="detectron"))
    artifact = standin.write_artifact(tmp_path / "artifact", spec)
    assemble(artifact, tmp_path / "repository")
    assert parsed(tmp_path / "repository", "postprocess").parameters["paste"].string_value == "detectron"
    rewrite(artifact, lambda manifest: manifest["spec"]["mask_head"].pop("paste"))  # as an earlier release wrote it
    assemble(artifact, tmp_path / "earlier")
    assert parsed(tmp_path / "earlier", "postprocess").parameters["paste"].string_value == "aligned"
    boxes = standin.write_artifact(tmp_path / "boxes", dataclasses.replace(spec, mask_head=None))
    assemble(boxes, tmp_path / "without")
    assert "paste" not in parsed(tmp_path / "without", "postprocess").parameters


@pytest.fixture(scope="session", params=standin.VARIANTS)
def variant(request, tmp_path_factory):
    """A spec and its assembled repository."""
    folder, spec = tmp_path_factory.mktemp("variant"), standin.VARIANTS[request.param]
    assemble(standin.write_artifact(folder / "artifact", spec), folder / "repository")
    return spec, folder / "repository"


def renamed(text, spec):
    """Reviewed text with the names of a network without a pyramid."""
    (feature,) = standin.features(spec)
    return re.sub(r'"(rpn_logits_|rpn_deltas_)?p2"', rf'"\g<1>{feature}"', text)


def test_text_changes_in_names_dims_and_parameters_alone(variant):
    """Lines may also go, with what the model lacks; none is new, moved or otherwise changed, comments included."""
    spec, repository = variant
    models, _ = sources()
    for path in sorted((repository / "models").glob("*/config.pbtxt")):
        before = (models / word_of(path.parent.name) / "config.pbtxt").read_text(encoding="utf-8")
        if spec.backbone.features != "fpn":
            before = renamed(before, spec)
        after = path.read_text(encoding="utf-8").splitlines()
        if spec is standin.VARIANTS["masks and keypoints"]:  # the model that the reviewed text is of
            assert len(after) == len(before.splitlines())
        lines = iter(before.splitlines())
        for line in after:
            free = next((old for old in lines if same_line(old, line)), None)
            assert free is not None, (path.parent.name, line)


def same_line(old, new):
    """Whether assembling may make `new` of `old`; a list's last entry has no comma."""
    name = re.fullmatch(r'(name|      model_name): "(\w+)"', old)
    if name is not None:
        return re.fullmatch(rf'{name[1]}: "{name[2]}(-[0-9a-f]{{12}})?"', new)
    for word in ("dims:", "value: {"):  # sizes; values of parameters
        if word in old:
            return old.split(word)[0] == new.split(word)[0] and word in new
    return old.rstrip(",") == new.rstrip(",")


def left_out(spec):
    """Tensors that no model of the repository has."""
    names = set() if spec.mask_head else {"masks", "mask_rle"}
    names |= set() if spec.keypoint_head else {"keypoints"}
    levels = () if spec.backbone.features == "fpn" else ("p3", "p4", "p5", "p6")
    return names | {f"{stem}{level}" for level in levels for stem in ("", "rpn_logits_", "rpn_deltas_")}


def test_names_types_and_order_stay_for_what_the_model_has(variant):
    spec, repository = variant
    models, _ = sources()
    lacking = left_out(spec)
    for path in sorted((repository / "models").glob("*/config.pbtxt")):
        word = word_of(path.parent.name)
        text = (models / word / "config.pbtxt").read_text(encoding="utf-8")
        before = config.parse(text if spec.backbone.features == "fpn" else renamed(text, spec), path)
        after = parsed(repository, word)
        for old, new in ((before.input, after.input), (before.output, after.output)):
            kept = [t for t in old if t.name not in lacking]
            assert [(t.name, t.data_type) for t in kept] == [(t.name, t.data_type) for t in new], path


def test_labels_and_preprocessing_are_written(tmp_path):
    spec = dataclasses.replace(standin.SPEC, classes=('with "quotes"', "back\\slash", "naïve Straße", "{ [ } #"))
    assemble(standin.write_artifact(tmp_path / "artifact", spec), tmp_path / "repository")
    for ensemble in ENSEMBLES:
        labels = parsed(tmp_path / "repository", ensemble).parameters["labels"].string_value
        assert json.loads(labels) == list(spec.classes)
    parameters = parsed(tmp_path / "repository", "preprocess").parameters
    assert parameters["shorter_side_px"].string_value == "64"
    assert parameters["longer_side_px"].string_value == "96"
    assert parameters["canvases"].string_value == "64x96,96x64,96x96"
    assert parameters["canvas_multiple"].string_value == ""
    assert parameters["max_image_bytes"].string_value == str(32 << 20)


@pytest.mark.parametrize("multiple", [32, 64])
def test_a_canvas_of_each_images_own_size_is_written(tmp_path, multiple):
    preprocessing = PreprocessingSpec(64, 96, (), canvas_multiple=multiple)
    spec = dataclasses.replace(standin.SPEC, preprocessing=preprocessing)
    assemble(standin.write_artifact(tmp_path / "artifact", spec), tmp_path / "repository")
    parameters = parsed(tmp_path / "repository", "preprocess").parameters
    assert parameters["canvases"].string_value == ""
    assert parameters["canvas_multiple"].string_value == str(multiple)


def test_an_artifact_of_before_has_its_list(own_artifact, tmp_path):
    for later in ("canvas_multiple", "resize_filter", "size_rule"):
        rewrite(own_artifact, lambda m, key=later: m["spec"]["preprocessing"].pop(key))
    assemble(own_artifact, tmp_path / "repository")
    parameters = parsed(tmp_path / "repository", "preprocess").parameters
    assert parameters["canvases"].string_value == "64x96,96x64,96x96"
    assert (parameters["resize_filter"].string_value, parameters["size_rule"].string_value) == ("pillow", "round")


def test_repository_json_says_where_it_came_from(artifact, repository):
    description = Repository.load(repository)
    assert description.target == "cpu"
    assert description.artifact["manifest_sha256"] == sha256(artifact / "manifest.json")
    assert description.classes == standin.SPEC.classes
    assert (description.max_detections, description.mask_side, description.keypoints) == (100, 14, ())
    assert description.changes() == {}


def test_a_variant_has_the_models_and_outputs_of_its_branches_alone(variant):
    spec, repository = variant
    stages = {"backbone", "proposal"} | ({"mask"} if spec.mask_head else set())
    stages |= {"keypoint"} if spec.keypoint_head else set()
    models = {word_of(path.name) for path in (repository / "models").iterdir()}
    assert models == {*stages, "preprocess", "postprocess", "postprocess_raw", "postprocess_boxes", *ENSEMBLES}
    texts = "".join(path.read_text() for path in (repository / "models").glob("*/config.pbtxt"))
    assert ("# What the keypoints are" in texts) == (spec.keypoint_head is not None)  # goes with its parameter
    outputs = set(dims(parsed(repository, "maskrcnn").output))
    assert ("mask_rle" in outputs, "keypoints" in outputs) == (bool(spec.mask_head), bool(spec.keypoint_head))
    description = Repository.load(repository)
    assert description.max_detections == 100
    assert description.mask_side == (14 if spec.mask_head else None)
    assert description.keypoints == (spec.keypoint_head.names if spec.keypoint_head else ())


def test_ensembles_say_what_the_keypoints_are(variant):
    spec, repository = variant
    for name in ENSEMBLES:
        parameters = parsed(repository, name).parameters
        told = spec.keypoint_head is not None and name != "maskrcnn_boxes"
        assert ("keypoints" in parameters) == told
        if told:
            assert json.loads(parameters["keypoints"].string_value) == {
                "names": ["nose", "left ear", "right ear"],
                "flip_pairs": [["left ear", "right ear"]],
                "sigmas": [],
            }


def test_a_repository_says_what_it_finds(tmp_path):
    found = {}
    for number, (name, spec) in enumerate(standin.VARIANTS.items()):
        one = dataclasses.replace(spec, classes=("person",))
        assemble(standin.write_artifact(tmp_path / f"artifact {number}", one), tmp_path / f"repository {number}")
        found[name] = Repository.load(tmp_path / f"repository {number}").answers
    assert found == {
        "masks and keypoints": "1 class, boxes, masks, 3 keypoints",
        "keypoints on c5": "1 class, boxes, 3 keypoints",
        "boxes on c4": "1 class, boxes",
    }


@pytest.mark.triton
def test_doctor_finds_nothing_wrong_with_a_variant(variant):
    _, repository = variant
    assert errors(repository) == {}


# ---- idempotent, atomic, careful


def test_second_time_writes_nothing(artifact, own_repository):
    before = {path: path.stat().st_mtime_ns for path in own_repository.rglob("*")}
    assert assemble(artifact, own_repository) is False
    assert {path: path.stat().st_mtime_ns for path in own_repository.rglob("*")} == before
    assert [path.name for path in own_repository.parent.iterdir()] == ["repository"]


def test_another_artifact_replaces_it(own_repository, tmp_path):
    spec = dataclasses.replace(standin.SPEC, classes=("a", "b"))
    assert assemble(standin.write_artifact(tmp_path / "other", spec), own_repository) is True
    assert Repository.load(own_repository).classes == ("a", "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "repository"]


def test_an_empty_folder_is_fine(artifact, tmp_path):
    (tmp_path / "repository").mkdir()
    assert assemble(artifact, tmp_path / "repository") is True


def test_a_link_to_a_repository_stays_and_what_it_points_to_is_replaced(artifact, own_repository, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(own_repository)
    path = model_of(own_repository, "preprocess") / "config.pbtxt"
    path.write_text(path.read_text().replace("count: 1", "count: 2"))
    assert assemble(artifact, link, force=True) is True
    assert link.is_symlink()
    assert "count: 1" in path.read_text()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "repository"]


def test_a_repository_of_before_there_were_keypoints_is_replaced(artifact, own_repository):
    data = json.loads((own_repository / FILE).read_text())
    del data["keypoints"]
    (own_repository / FILE).write_text(json.dumps({**data, "maskline": "0.0.9"}))
    assert Repository.load(own_repository).keypoints == ()
    assert assemble(artifact, own_repository) is True


def test_a_repository_of_an_unknown_release_says_what_to_do(artifact, own_repository):
    data = json.loads((own_repository / FILE).read_text())
    (own_repository / FILE).write_text(json.dumps({**data, "format": "maskline-repository/9"}))
    with pytest.raises(
        RepositoryError, match=r"got format 'maskline-repository/9'.*delete .*repository or choose another"
    ):
        assemble(artifact, own_repository, force=True)


def test_a_foreign_folder_is_left_alone(artifact, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RepositoryError, match="not assembled by maskline-serve"):
        assemble(artifact, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_files_of_others_inside_are_not_lost(artifact, own_repository):
    (own_repository / "models" / "mine").mkdir()
    (own_repository / "models" / "mine" / "config.pbtxt").write_text('name: "mine"')
    with pytest.raises(RepositoryError, match=r"models/mine/config\.pbtxt, which is not ours"):
        assemble(artifact, own_repository, force=True)


def test_a_hand_tuned_config_needs_force(artifact, own_repository):
    path = model_of(own_repository, "preprocess") / "config.pbtxt"
    path.write_text(path.read_text().replace("count: 1", "count: 2"))
    with pytest.raises(RepositoryError, match=r"preprocess-\w{12}/config\.pbtxt is changed.*--force"):
        assemble(artifact, own_repository)
    assert "count: 2" in path.read_text()
    assert assemble(artifact, own_repository, force=True) is True
    assert "count: 1" in path.read_text()


# ---- artifacts that must be refused, with nothing left behind


def rename_output(manifest):
    manifest["stages"]["mask"]["outputs"][0]["name"] = "mask"


def swap_inputs(manifest):
    manifest["stages"]["backbone"]["inputs"].reverse()


def other_type(manifest):
    for stage in ("backbone", "proposal", "mask"):
        for side in ("inputs", "outputs"):
            for tensor in manifest["stages"][stage][side]:
                tensor["dtype"] = "UINT8" if tensor["name"] == "p3" else tensor["dtype"]


def masks_of_an_older_release(manifest):
    manifest["stages"]["mask"]["outputs"][0]["dtype"] = "UINT8"


def other_size_in_one_stage(manifest):
    manifest["stages"]["mask"]["inputs"][0]["shape"][1] = 16


def keypoints_of_another_kind(manifest):
    stage = copy.deepcopy(manifest["stages"]["mask"])
    stage["outputs"][0].update(name="keypoints", dtype="FP32")
    manifest["stages"]["keypoint"] = stage
    manifest["spec"]["keypoint_head"] = {"names": ["a", "b"], "flip_pairs": [], "sigmas": []}


KEYPOINTS_BROKEN = [
    ({"names": []}, "expected one name or more"),
    ({"names": ["a", "a", "b"]}, "each once"),
    ({"names": [1, 2, 3]}, "got the keypoint 1, expected a name"),
    ({"names": ["a", "b", "\udc80"]}, "valid Unicode"),
    ({"flip_pairs": [["left ear", "nez"]]}, "got flip_pairs with 'nez'"),
    ({"flip_pairs": [["left ear"]]}, "not enough values"),
    ({"sigmas": [0.1]}, "expected none, or 3 numbers above 0"),
    ({"sigmas": [0.1, 0.1, float("nan")]}, "expected none, or 3 numbers above 0"),
]


@pytest.mark.parametrize(("change", "text"), KEYPOINTS_BROKEN, ids=[row[1][:20] for row in KEYPOINTS_BROKEN])
def test_keypoints_that_no_client_would_take(tmp_path, change, text):
    artifact = standin.write_artifact(tmp_path / "artifact", standin.VARIANTS["keypoints on c5"])
    rewrite(artifact, lambda manifest: manifest["spec"]["keypoint_head"].update(change))
    with pytest.raises(ArtifactError, match=text):
        assemble(artifact, tmp_path / "repository")
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_a_stage_with_data_in_another_file(own_artifact, tmp_path):
    """Whose hash is right: whoever made the artifact wrote its manifest too."""
    (own_artifact / "mask.onnx").write_bytes(external_files.model("t", "../secret").SerializeToString())
    rewrite(own_artifact, lambda m: m["stages"]["mask"].update(sha256=sha256(own_artifact / "mask.onnx")))
    with pytest.raises(ArtifactError, match=r"mask.onnx: got the tensor 'w' with its data in another file"):
        assemble(own_artifact, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


BROKEN = [
    (lambda m: m.update(format="maskline-artifact/9"), "format 'maskline-artifact/9'"),
    (lambda m: m["spec"].update(format="other/1"), "spec format 'other/1'"),
    (lambda m: m.pop("labels"), "missing key 'labels'"),
    (lambda m: m["stages"].pop("proposal"), "no stage 'proposal'"),
    (lambda m: m["stages"].pop("mask"), "no stage 'mask', expected backbone, proposal, mask as the spec says"),
    (lambda m: m["spec"].update(mask_head=None), "got stage 'mask', but the spec has no mask_head"),
    (lambda m: m["stages"].update(keypoint=m["stages"]["mask"]), "but the spec has no keypoint_head"),
    (lambda m: m["spec"]["backbone"].update(features="c4"), "features 'c4': got p2, p3, p4, p5, expected c4"),
    (lambda m: m["spec"]["backbone"].update(features="c3"), "features 'c3'.*expected a spec of fpn, c4, c5"),
    (lambda m: m["stages"]["mask"]["outputs"][0].update(shape=["B", 100]), "masks: got .*expected 4 dimensions"),
    (lambda m: m["stages"]["mask"]["outputs"][0].update(shape=[]), "masks: got \\[\\], expected 4 dimensions"),
    (lambda m: m["stages"].update(depth=m["stages"]["mask"]), "stage 'depth' is not served by this release"),
    (keypoints_of_another_kind, "keypoint output keypoints: got .100, 14, 14., expected .100, 2, 3."),
    (lambda m: m["stages"]["mask"].update(sha256="0" * 64), "mask.onnx: got sha256"),
    (lambda m: m["stages"]["mask"].update(file="../mask.onnx"), "plain name"),
    (lambda m: m["stages"]["mask"].update(file="gone.onnx"), "gone.onnx is missing"),
    (lambda m: m["spec"].update(classes=["a"]), "labels.txt differs"),
    (lambda m: m["spec"]["preprocessing"].update(canvases=[]), "at least one canvas"),
    (lambda m: m["spec"]["preprocessing"].update(canvas_multiple=32), "either at least one canvas or a canvas_mult"),
    (lambda m: m["spec"]["preprocessing"].update(canvases=[], canvas_multiple=0), "positive sides"),
    (lambda m: m["spec"]["preprocessing"].update(resize_filter="area"), "resize_filter 'area'.*of pillow, cv2, torch"),
    (lambda m: m["spec"]["preprocessing"].update(size_rule="ceil"), "size_rule 'ceil'.*of round, floor, detectron2"),
    (lambda m: m["stages"]["mask"]["outputs"][0].update(dtype="FP64"), "dtype 'FP64'"),
    (rename_output, "expected masks"),
    (swap_inputs, "got image_info FP32, expected canvas UINT8"),
    (lambda m: m["spec"]["mask_head"].update(paste="torch"), "got mask_head.paste 'torch', expected one of aligned, d"),
    (masks_of_an_older_release, "got masks UINT8, expected masks FP32 .* export the checkpoint again by `maskline-exp"),
    (other_type, "got p3 UINT8, expected p3 FP32"),
    (other_size_in_one_stage, "p2 is FP32 .16, -1, -1. in stage mask"),
]


@pytest.mark.parametrize(("change", "text"), BROKEN, ids=[row[1][:20] for row in BROKEN])
def test_broken_manifest(own_artifact, tmp_path, change, text):
    rewrite(own_artifact, change)
    with pytest.raises(ArtifactError, match=text):
        assemble(own_artifact, tmp_path / "repository")
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_damaged_stage(own_artifact):
    with (own_artifact / "proposal.onnx").open("r+b") as file:
        file.seek(100)
        file.write(b"\x00\x01\x02")
    with pytest.raises(ArtifactError, match=r"proposal\.onnx: got sha256"):
        read(own_artifact)


def test_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match="maskline-export onnx"):
        read(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match="not JSON"):
        read(tmp_path)


# ---- editing config text


AWKWARD = """# dims: [ 9 ] input { name: "x" dims: [ 9 ] }
name: "m"
input { name: "x" data_type: TYPE_FP32 dims: [ 7, -1 ] }
input { dims: [7,-1] data_type: TYPE_FP32 name: "y" }
output [ { name: "x" data_type: TYPE_FP32 dims : [ 7 # seven
  , -1 ] reshape { shape: [ 7, -1 ] } } ]
parameters: { key: "a" value { string_value: "dims: [ 7, -1 ]" } }
"""


def test_dims_are_found_in_any_layout():
    text = config.with_dims(AWKWARD, {"x": (3, -1)}, "test")
    result = config.parse(text, "test")
    assert [list(t.dims) for t in result.input] == [[3, -1], [7, -1]]
    assert list(result.output[0].dims) == [3, -1]
    assert list(result.output[0].reshape.shape) == [7, -1]
    assert text.startswith('# dims: [ 9 ] input { name: "x" dims: [ 9 ] }\n')
    assert result.parameters["a"].string_value == "dims: [ 7, -1 ]"


def test_same_dims_leave_the_text_alone():
    assert config.with_dims(AWKWARD, {"x": (7, -1), "z": (1,)}, "test") == AWKWARD


def test_text_that_cannot_be_cut_is_refused():
    cut = config_parts.Cut(frozenset(), frozenset({"x"}), {})
    with pytest.raises(RepositoryError, match=r"test: cannot leave parts of this text out"):
        config_parts.apply(AWKWARD, cut, "test")


def test_another_rank_is_refused():
    with pytest.raises(RepositoryError, match=r"x has dims \[7, -1\], the artifact has \[7\]"):
        config.with_dims(AWKWARD, {"x": (7,)}, "test")


@pytest.mark.parametrize("value", ["", "plain", 'a "b" \\ c', "two\nlines", "é [ ] { } #"])
def test_parameters_are_set_and_appended(value):
    for key in ("a", "new"):
        text = config.with_parameter(AWKWARD, key, value, "test")
        assert config.parse(text, "test").parameters[key].string_value == value
        assert config.with_parameter(text, key, value, "test") == text


def test_a_text_that_is_no_config():
    with pytest.raises(RepositoryError, match=r"here: 1:\d+ .*expected Triton's model configuration"):
        config.parse('nam: "m"', "here")


# ---- doctor


def errors(folder):
    return {finding.check: finding.detail for finding in examine(folder) if finding.level is Level.ERROR}


@pytest.mark.triton
def test_doctor_finds_nothing_wrong(repository):
    findings = examine(repository)
    assert [finding for finding in findings if finding.level is Level.ERROR] == []
    by_check = {finding.check: finding.detail for finding in findings}
    assert by_check["maskrcnn"] == "5 steps, batches up to 8"
    assert "version 2." in by_check["server"]  # asked of the real program
    assert by_check["numpy"].startswith("1.")


def edit(repository, model, old, new):
    path = model_of(repository, model) / "config.pbtxt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.triton
def test_doctor_compares_config_and_onnx(own_repository):
    edit(own_repository, "mask", "dims: [ 100, 14, 14 ]", "dims: [ 100, 28, 28 ]")
    assert "28, 28" in errors(own_repository)["mask"]


@pytest.mark.triton
def test_doctor_reads_the_ensembles(own_repository):
    edit(own_repository, "maskrcnn", 'input_map { key: "masks" value: "stage_masks" }', "")
    assert errors(own_repository)["maskrcnn"] == "step postprocess: input masks is not mapped"


@pytest.mark.triton
def test_doctor_knows_what_flows(own_repository):
    edit(own_repository, "maskrcnn", 'key: "boxes" value: "stage_boxes"', 'key: "boxes" value: "stage_bokses"')
    assert "stage_boxes, which no earlier step gives" in errors(own_repository)["maskrcnn"]


@pytest.mark.triton
def test_doctor_sees_a_missing_step(own_repository):
    mask = model_of(own_repository, "mask")
    shutil.rmtree(mask)
    found = errors(own_repository)
    assert found["maskrcnn"] == found["maskrcnn_raw"] == f"step {mask.name}: no such model"
    assert "is missing" in found["files"]


@pytest.mark.triton
def test_doctor_sees_changed_files(own_repository):
    model = model_of(own_repository, "mask") / "1" / "model.onnx"
    onnx.save(onnx.load(model_of(own_repository, "backbone") / "1" / "model.onnx"), model)
    found = errors(own_repository)
    assert found["files"] == f"{model.relative_to(own_repository)} is changed"
    assert "1/model.onnx" in found["mask"]
    model.write_bytes(external_files.model("sparse initializer", "../w.bin").SerializeToString())
    assert "does not load" in errors(own_repository)["mask"]
    assert "with its data in another file" in errors(own_repository)["mask"]
    model.write_bytes(b"not onnx")
    assert "does not load" in errors(own_repository)["mask"]


@pytest.mark.triton
def test_doctor_lets_a_config_be_tuned(own_repository):
    edit(own_repository, "preprocess", "count: 1", "count: 2")
    findings = {finding.check: finding for finding in examine(own_repository)}
    assert findings["files"].level is Level.WARNING
    assert errors(own_repository) == {}


@pytest.mark.triton
def test_doctor_wants_an_assembled_repository(tmp_path):
    with pytest.raises(RepositoryError, match="maskline-serve assemble"):
        examine(tmp_path)
    (tmp_path / FILE).write_text('{"format": "maskline-repository/7"}')
    with pytest.raises(RepositoryError, match="maskline-repository/7"):
        examine(tmp_path)
