"""The target tensorrt on disk: configs, files, refusals, doctor, and the launch file against a stand-in program.

Plans are stand-ins: no TensorRT runs here. What is written of them is what the exporter itself writes.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from maskline_export.engine.engine_manifest import EngineInfo, EngineManifest
from maskline_export.engine.plugin_library import PluginFile
from maskline_export.engine.profiles import Profile, profiles
from maskline_export.manifest import StageInfo, load_artifact, sha256
from maskline_export.precision.low_types import LOW_TYPES, is_feature, typed_stage
from maskline_serve.commands import app
from maskline_serve.doctor import Level, examine
from maskline_serve.errors import EnginesError, RepositoryError
from maskline_serve.repository import config
from maskline_serve.repository.assemble import Target, assemble, sources
from maskline_serve.repository.names import ENSEMBLES, word_of
from maskline_serve.repository.on_disk import Repository
from maskline_serve.repository.tensorrt import check_engines
from maskline_train.spec import PreprocessingSpec
from serve import standin
from support.served_models import config_in_words, model_of
from typer.testing import CliRunner

LIBRARIES = ("libmaskline_trt.so", "libmaskline_triton.so")
VERSION, CAPABILITY = "10.14.1.48", "9.0"
STAGES = ("backbone", "proposal", "mask")  # of the stand-in


def write_engines(folder: Path, artifact: Path, precision: str = "fp16", plugins: bool = True) -> EngineManifest:
    """What `maskline-export engine` leaves behind, with plans that are no plans."""
    folder.mkdir()
    source = load_artifact(artifact)
    stages = {}
    for name, info in source.stages.items():
        typed: StageInfo = info if precision == "fp32" else typed_stage(info, LOW_TYPES[precision])  # type: ignore[index]
        plan = folder / f"{name}.plan"
        plan.write_bytes(f"the plan of {name}".encode())
        layers = 1 if plugins else 0
        stages[name] = EngineInfo(
            plan.name, sha256(plan), plan.stat().st_size, info.sha256, layers, 1.0, typed.inputs, typed.outputs
        )
    files = []
    if plugins:
        (folder / "plugins").mkdir()
        for name in LIBRARIES:
            (folder / "plugins" / name).write_bytes(f"the library {name}".encode())
            files.append(PluginFile(name, sha256(folder / "plugins" / name)))
    manifest = EngineManifest(
        "0.1.0", "tensorrt", VERSION, CAPABILITY, "a GPU", precision,  # type: ignore[arg-type]
        tuple(files), profiles((), source.spec.preprocessing), stages,
    )  # fmt: skip
    manifest.save(folder)
    return manifest


@pytest.fixture
def engines(artifact: Path, tmp_path: Path) -> Path:
    write_engines(tmp_path / "engines", artifact)
    return tmp_path / "engines"


@pytest.fixture
def made(artifact: Path, engines: Path, tmp_path: Path) -> Path:
    assemble(artifact, tmp_path / "repository", Target.TENSORRT, engines_folder=engines)
    return tmp_path / "repository"


# ---- what is written


@pytest.mark.parametrize(
    ("precision", "wire"), [("fp32", "FP32"), ("fp16", "FP16"), ("bf16", "BF16"), ("int8", "FP16")]
)
def test_stages_are_those_of_the_cpu_target_but_for_backend_and_feature_type(
    artifact: Path, repository: Path, tmp_path: Path, precision: str, wire: str
) -> None:
    write_engines(tmp_path / "engines", artifact, precision)
    assemble(artifact, tmp_path / "repository", Target.TENSORRT, engines_folder=tmp_path / "engines")
    for name in STAGES:
        ours, theirs = config_in_words(tmp_path / "repository", name), config_in_words(repository, name)
        assert (ours.name, ours.platform, ours.backend) == (name, "tensorrt_plan", "tensorrt")
        for got, expected in ((ours.input, theirs.input), (ours.output, theirs.output)):
            assert [(t.name, list(t.dims)) for t in got] == [(t.name, list(t.dims)) for t in expected]
            for mine, other in zip(got, expected, strict=True):
                assert config.dtype(mine) == (wire if is_feature(mine.name) else config.dtype(other)), mine.name
        assert [group.Kind.Name(group.kind) for group in ours.instance_group] == ["KIND_GPU"]
        assert list(ours.instance_group[0].profile) == ["0", "1", "2"]
        assert not ours.parameters
        assert ours.dynamic_batching == theirs.dynamic_batching
        assert ours.max_batch_size == theirs.max_batch_size == 8


def test_everything_else_is_the_very_same(made: Path, repository: Path) -> None:
    models, here = (
        sorted(word_of(path.parent.name) for path in (folder / "models").glob("*/config.pbtxt"))
        for folder in (repository, made)
    )
    assert models == here
    for name in set(models) - set(STAGES):
        ours, theirs = config_in_words(made, name), config_in_words(repository, name)
        if name in ENSEMBLES:
            precisions = [each.parameters.pop("precision").string_value for each in (ours, theirs)]
            assert precisions == ["fp16", "fp32"]
        assert ours == theirs, name
    for name in ("preprocess", "postprocess"):
        assert (model_of(made, name) / "1" / "model.py").read_bytes() == (
            model_of(repository, name) / "1" / "model.py"
        ).read_bytes()


@pytest.mark.parametrize("name", standin.VARIANTS)
def test_variants_have_the_plans_of_their_own_stages(tmp_path: Path, name: str) -> None:
    spec = standin.VARIANTS[name]
    artifact = standin.write_artifact(tmp_path / "artifact", spec)
    write_engines(tmp_path / "engines", artifact)
    assemble(artifact, tmp_path / "repository", Target.TENSORRT, engines_folder=tmp_path / "engines")
    assemble(artifact, tmp_path / "cpu")
    plans = {word_of(path.parent.parent.name) for path in (tmp_path / "repository").rglob("model.plan")}
    assert plans == set(load_artifact(artifact).stages)
    proposal = config_in_words(tmp_path / "repository", "proposal")
    (feature, *_) = standin.features(spec)
    assert {config.dtype(t) for t in proposal.input if t.name == feature} == {"FP16"}
    ours, theirs = config_in_words(tmp_path / "repository", "maskrcnn"), config_in_words(tmp_path / "cpu", "maskrcnn")
    for each in (ours, theirs):
        each.parameters.pop("precision")
    assert ours == theirs
    assert [f for f in examine(tmp_path / "repository") if f.level is Level.ERROR] == []


def test_no_line_of_onnx_runtime_is_left(made: Path) -> None:
    for name in STAGES:
        text = (model_of(made, name) / "config.pbtxt").read_text(encoding="utf-8")
        assert "onnx" not in text.lower()
        assert "intra_op" not in text
    assert not (made / "backends").exists()
    assert not list(made.rglob("*.onnx"))


def test_plans_plugins_and_launch_files_are_there(made: Path, engines: Path) -> None:
    for name in STAGES:
        assert (model_of(made, name) / "1" / "model.plan").read_bytes() == (engines / f"{name}.plan").read_bytes()
    assert sorted(path.name for path in (made / "plugins").iterdir()) == sorted(LIBRARIES)
    assert os.access(made / "launch.sh", os.X_OK)
    deploy = sources()[0].parent / "deploy" / "tensorrt"
    assert (made / "Containerfile").read_bytes() == (deploy / "Containerfile").read_bytes()
    description = Repository.load(made)
    assert description.target == "tensorrt"
    assert description.engines == {"tensorrt": VERSION, "compute_capability": CAPABILITY, "precision": "fp16"}
    assert description.changes() == {}
    assert {"launch.sh", "check_engines.py", "Containerfile", "plugins/libmaskline_trt.so"} <= set(description.files)


def test_standard_layers_need_no_plugins(artifact: Path, tmp_path: Path) -> None:
    write_engines(tmp_path / "engines", artifact, plugins=False)
    assemble(artifact, tmp_path / "repository", Target.TENSORRT, engines_folder=tmp_path / "engines")
    assert not (tmp_path / "repository" / "plugins").exists()


def test_batches_are_as_large_as_every_profile_takes(artifact: Path, tmp_path: Path) -> None:
    write_engines(tmp_path / "engines", artifact)
    rewrite(tmp_path / "engines", lambda data: data["profiles"][1].update(batches=[1, 2, 4]))
    assemble(artifact, tmp_path / "repository", Target.TENSORRT, engines_folder=tmp_path / "engines")
    sizes = {name: config_in_words(tmp_path / "repository", name).max_batch_size for name in (*STAGES, *ENSEMBLES)}
    assert set(sizes.values()) == {4}
    assert config_in_words(tmp_path / "repository", "preprocess").max_batch_size == 8


def test_the_pool_holds_two_of_the_largest_batches(artifact: Path, tmp_path: Path) -> None:
    """Worked out by hand for one 960 x 960 canvas, fp16, batch 8."""
    spec = dataclasses.replace(
        standin.SPEC, preprocessing=dataclasses.replace(standin.SPEC.preprocessing, canvases=((960, 960),))
    )
    standin.write_artifact(tmp_path / "artifact", spec)
    write_engines(tmp_path / "engines", tmp_path / "artifact")
    assemble(tmp_path / "artifact", tmp_path / "repository", Target.TENSORRT, engines_folder=tmp_path / "engines")
    cells = [(960 // 2**level) ** 2 for level in range(2, 7)]
    features = 8 * 2 * sum(cells[:4])  # C = 8 in fp16
    rpn = (3 + 12) * 4 * sum(cells)
    detections = 100 * (4 * 4 + 4 + 4) + 4 + 100 * 14 * 14
    image = 960 * 960 * 3 + 6 * 4 + features + rpn + detections
    expected = -(-2 * 8 * image // (256 << 20)) * (256 << 20)
    assert expected == 256 << 20
    text = (tmp_path / "repository" / "launch.sh").read_text()
    assert f"${{CUDA_POOL_BYTES:-{expected}}}" in text
    assert "@" not in text.replace('"$@"', "")


def test_a_typed_artifact_serves_too(tmp_path: Path) -> None:
    """Its features are FP16 in the manifest already."""
    folder = standin.write_artifact(tmp_path / "artifact")
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    for stage in data["stages"].values():
        for tensor in (*stage["inputs"], *stage["outputs"]):
            tensor["dtype"] = "FP16" if is_feature(tensor["name"]) else tensor["dtype"]
    path.write_text(json.dumps(data | {"precision": "fp16"}))
    write_engines(tmp_path / "engines", folder)
    assert assemble(folder, tmp_path / "repository", Target.TENSORRT, engines_folder=tmp_path / "engines")


def test_a_second_time_writes_nothing(artifact: Path, engines: Path, made: Path) -> None:
    assert assemble(artifact, made, Target.TENSORRT, engines_folder=engines) is False


# ---- engines that must be refused, with nothing left behind


def rewrite(folder: Path, change) -> None:
    path = folder / "engines.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def other_shape(data):
    data["stages"]["mask"]["outputs"][0]["shape"] = ["B", 100, 28, 28]


def low_boxes(data):
    for tensor in data["stages"]["mask"]["inputs"]:
        tensor["dtype"] = "FP16" if tensor["name"] == "boxes" else tensor["dtype"]


BROKEN = [
    (lambda d: d.update(format="maskline-engines/9"), "got format 'maskline-engines/9'"),
    (lambda d: d.pop("version"), "missing key 'version'"),
    (lambda d: d.update(runtime="tensorrt_rtx"), "got plans for tensorrt_rtx, expected tensorrt"),
    (lambda d: d["stages"].pop("mask"), "missing key 'mask'"),
    (lambda d: d["stages"]["mask"].update(sha256="0" * 64), "mask.plan: got sha256"),
    (lambda d: d["stages"]["mask"].update(onnx_sha256="0" * 64), "mask.plan was built of another mask.onnx"),
    (lambda d: d["plugins"][0].update(sha256="0" * 64), "libmaskline_trt.so: got sha256"),
    (lambda d: d["plugins"].pop(), "but no plugins/libmaskline_triton.so came with them"),
    (lambda d: d["plugins"][0].update(file="../engines.json"), "expected a plain name"),
    (lambda d: d["profiles"].pop(0), r"no profile for the canvas 64x96.*1:4:8@64x96"),
    (lambda d: d["profiles"][0].update(batches=[2, 4, 8]), "got a profile with batches of 2 and more"),
    (other_shape, r"got masks FP32 \[100, 28, 28\], expected masks FP32 \[100, 14, 14\]"),
    (low_boxes, "got boxes FP16 .*, expected boxes FP32"),
]


@pytest.mark.parametrize(("change", "text"), BROKEN, ids=[row[1][:24] for row in BROKEN])
def test_engines_that_do_not_fit(artifact: Path, engines: Path, tmp_path: Path, change, text: str) -> None:
    rewrite(engines, change)
    with pytest.raises(EnginesError, match=text) as caught:
        assemble(artifact, tmp_path / "repository", Target.TENSORRT, engines_folder=engines)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["engines"]


def test_files_that_are_gone(artifact: Path, engines: Path, tmp_path: Path) -> None:
    (engines / "plugins" / LIBRARIES[1]).unlink()
    with pytest.raises(EnginesError, match=r"libmaskline_triton\.so is missing"):
        assemble(artifact, tmp_path / "repository", Target.TENSORRT, engines_folder=engines)
    shutil.rmtree(engines)
    with pytest.raises(EnginesError, match="make them with `maskline-export engine ARTIFACT"):
        assemble(artifact, tmp_path / "repository", Target.TENSORRT, engines_folder=engines)


def test_engines_go_with_their_target(artifact: Path, engines: Path, tmp_path: Path) -> None:
    with pytest.raises(EnginesError, match="target tensorrt: got no --engines"):
        assemble(artifact, tmp_path / "repository", Target.TENSORRT)
    with pytest.raises(EnginesError, match="target cpu: got --engines"):
        assemble(artifact, tmp_path / "repository", Target.CPU, engines_folder=engines)


def test_a_canvas_that_only_mixed_requests_get_needs_a_profile(tmp_path: Path) -> None:
    spec = dataclasses.replace(
        standin.SPEC, preprocessing=dataclasses.replace(standin.SPEC.preprocessing, canvases=((64, 96), (96, 64)))
    )
    folder = standin.write_artifact(tmp_path / "artifact", spec)
    manifest = write_engines(tmp_path / "engines", folder)
    assert Profile((1, 4, 8), (96, 96)) in manifest.profiles
    assemble(folder, tmp_path / "repository", Target.TENSORRT, engines_folder=tmp_path / "engines")
    rewrite(tmp_path / "engines", lambda data: data["profiles"].pop())
    with pytest.raises(EnginesError, match="no profile for the canvas 96x96"):
        assemble(folder, tmp_path / "repository", Target.TENSORRT, force=True, engines_folder=tmp_path / "engines")


def test_an_artifact_whose_images_have_their_own_canvases_is_refused(engines: Path, tmp_path: Path) -> None:
    """Its stages may be those of the engines: that nobody can know which canvases come is what is wrong."""
    preprocessing = PreprocessingSpec(64, 96, (), canvas_multiple=32)
    folder = standin.write_artifact(tmp_path / "own", dataclasses.replace(standin.SPEC, preprocessing=preprocessing))
    with pytest.raises(EnginesError, match=r"canvas_multiple 32, .*expected a list of canvases.*--target cpu") as error:
        assemble(folder, tmp_path / "repository", Target.TENSORRT, engines_folder=engines)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "repository").exists()


# ---- the commands


def test_what_the_command_prints(artifact: Path, engines: Path, tmp_path: Path) -> None:
    arguments = ["assemble", artifact, tmp_path / "repository", "--target", "tensorrt", "--engines", engines]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert f"needs: TensorRT {VERSION}, GPU of compute capability {CAPABILITY}" in done.output
    assert "launch.sh in Triton's container" in done.output


def test_the_local_server_is_not_tried(made: Path) -> None:
    done = CliRunner().invoke(app, ["run", str(made)])
    assert isinstance(done.exception, RepositoryError)
    assert "got target tensorrt, which the local server cannot serve" in str(done.exception)


# ---- doctor


def found(folder: Path, level: Level) -> dict[str, str]:
    return {finding.check: finding.detail for finding in examine(folder) if finding.level is level}


def test_doctor_examines_files_and_wiring(made: Path) -> None:
    findings = {finding.check: finding for finding in examine(made)}
    assert "target tensorrt, 3 classes, boxes, masks, fp16" in findings["repository"].detail
    assert findings["backbone"].detail == "tensorrt, batches up to 8"
    assert findings["maskrcnn"].level is Level.OK, "types of features agree from step to step"
    assert {"TensorRT", "compute capability", "server"} <= set(findings)
    assert "onnxruntime" not in findings


@pytest.mark.skipif(check_engines.compute_capability() is not None, reason="this machine has a GPU")
def test_doctor_says_what_it_could_not_look_at(made: Path) -> None:
    assert found(made, Level.ERROR) == {}
    warnings = found(made, Level.WARNING)
    assert warnings["compute capability"] == "none found here; the engines need 9.0: look again where they are served"


def edit(repository: Path, model: str, old: str, new: str) -> None:
    path = model_of(repository, model) / "config.pbtxt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_doctor_finds_what_is_wrong(made: Path) -> None:
    edit(made, "mask", 'platform: "tensorrt_plan"\nbackend: "tensorrt"', 'backend: "onnxruntime"')
    edit(made, "proposal", "KIND_GPU", "KIND_CPU")
    edit(made, "proposal", "TYPE_FP16", "TYPE_FP32")
    plan = model_of(made, "backbone") / "1" / "model.plan"
    plan.unlink()
    (made / "plugins" / LIBRARIES[0]).write_bytes(b"another build")
    errors = [f"{finding.check}: {finding.detail}" for finding in examine(made) if finding.level is Level.ERROR]
    for expected in (
        "backbone: no 1/model.plan",
        "mask: got platform '', backend 'onnxruntime', expected 'tensorrt_plan', 'tensorrt'",
        "proposal: got instance groups KIND_CPU, expected KIND_GPU",
        "maskrcnn: step proposal: p2 -> p2: got FP16, expected FP32",
        "files: plugins/libmaskline_trt.so is changed",
        f"files: {plan.relative_to(made)} is missing",
    ):
        assert expected in errors


# ---- the check and the launch file, as they lie in the repository


def test_the_check_stands_alone_and_refuses_another_machine(made: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", made / "check_engines.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"expected {VERSION}" in done.stderr or "compute capability" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx-cu13 is not installed"
)
def test_the_version_is_asked_of_nvidias_library() -> None:
    """TensorRT for RTX answers the same questions as libnvinfer does."""
    spec = importlib.util.find_spec("tensorrt_rtx_libs")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    library = next(Path(spec.submodule_search_locations[0]).glob("libtensorrt_rtx.so*"))
    code = (
        "import ctypes, sys; from maskline_serve.repository.tensorrt.check_engines import version_of\n"
        "print(version_of(ctypes.CDLL(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", code, library], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == importlib.metadata.version("tensorrt-rtx-cu13")


def launch(repository: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run launch.sh with programs of that name that print what they are given."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "tritonserver").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (programs / "python3").write_text('#!/bin/sh\ntest ! -e "$(dirname "$1")/unfit"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    return subprocess.run(
        [repository / "launch.sh", *arguments], capture_output=True, text=True, check=False, env=environment, cwd="/"
    )


def test_launch_gives_triton_the_plugins_and_the_pool(made: Path, tmp_path: Path) -> None:
    moved = made.rename(tmp_path / "a folder")
    options = launch(moved, tmp_path, "--http-port=9000").stdout.splitlines()
    assert f"--backend-config=tensorrt,plugins={moved}/plugins/libmaskline_triton.so" in options
    assert f"--model-repository={moved}/models" in options
    assert "--cuda-memory-pool-byte-size=0:268435456" in options
    assert "--http-port=9000" in options
    (moved / "unfit").touch()
    done = launch(moved, tmp_path)
    assert done.returncode != 0
    assert done.stdout == "", "the server is not started where the check fails"


def test_launch_without_plugins(made: Path, tmp_path: Path) -> None:
    shutil.rmtree(made / "plugins")
    assert "plugins=" not in launch(made, tmp_path).stdout


@pytest.mark.triton
def test_the_flags_are_known_to_the_real_server(made: Path) -> None:
    """Each option of launch.sh, by tritonserver --help."""
    from maskline_serve.server import find_server

    installation = find_server.find()
    work = made.parent / "work"
    work.mkdir()
    (work / "none").mkdir()
    program, _ = find_server.prepare(installation, work / "none", work)
    shown = subprocess.run(
        [str(program), "--help"], capture_output=True, text=True, check=False, env=find_server.environment(installation)
    )
    known = shown.stdout + shown.stderr
    options = [word for word in (made / "launch.sh").read_text().split() if word.startswith("--")]
    names = {word.partition("=")[0] for word in options}
    assert "--cuda-memory-pool-byte-size" in names
    for name in names:
        assert name in known, name
