"""`maskline-export engine` where it cannot build: one line that says what to do, and nothing left behind."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import onnx
import onnx.parser
import pytest
from maskline_export.cli import main
from maskline_export.manifest import LabelsInfo, Manifest, StageInfo, TensorInfo, sha256
from maskline_train.spec import ModelSpec, RoIAlignSpec
from support.export import external_files
from support.models.tiny import tiny_spec
from support.processes.in_process import call

Said = pytest.CaptureFixture[str]

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx-cu13 is not installed"
)
needs_no_tensorrt = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is not None, reason="the package tensorrt is installed: it would build"
)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return write_artifact(tmp_path / "artifact")


def write_artifact(folder: Path) -> Path:
    """An artifact of one small stage that TensorRT takes, without ops of ours, whatever its manifest says."""
    folder.mkdir()
    (folder / "labels.txt").write_text("circle\nsquare\nstar\n", encoding="utf-8")
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> mask (float[B,8,H2,W2] p2) => (float[B,8,H2,W2] out) '
        "{ r = Relu (p2) out = Sigmoid (r) }"
    )
    onnx.save(model, folder / "mask.onnx")
    write_manifest(folder)
    return folder


def write_manifest(
    folder: Path, bodies: str = "dense", custom_ops: dict[str, int] | None = None, spec: ModelSpec | None = None
) -> None:
    shape = ("B", 8, "H2", "W2")
    stage = StageInfo(
        "mask.onnx",
        sha256(folder / "mask.onnx"),
        custom_ops or {},
        (TensorInfo("p2", "FP32", shape),),
        (TensorInfo("out", "FP32", shape),),
    )
    labels = LabelsInfo("labels.txt", sha256(folder / "labels.txt"))
    manifest = Manifest("0.1.0", spec or tiny_spec(), bodies, "fp32", 20, {}, "0" * 64, labels, {"mask": stage})  # type: ignore[arg-type]
    manifest.save(folder)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which a builder may end."""
    return subprocess.run(
        [sys.executable, "-m", "maskline_export.cli", "engine", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that failed."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def refused_before_it_builds(capsys: Said, *arguments: str | Path) -> str:
    """The same in this process."""
    status = call(main, "engine", *map(str, arguments))
    return refused(subprocess.CompletedProcess(arguments, status, *capsys.readouterr()))


RTX = ("--rtx", "--plugin-free", "--precision", "fp32", "--profile", "1:1:2@64x64")


@needs_no_tensorrt
def test_without_tensorrt_it_says_what_to_install(artifact: Path, tmp_path: Path, capsys: Said) -> None:
    line = refused_before_it_builds(capsys, artifact, tmp_path / "out")
    assert line.startswith("maskline-export: TensorRT is not installed: `pip install tensorrt`")
    assert "--rtx" in line
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


@needs_rtx
def test_a_whole_folder_of_engines(artifact: Path, tmp_path: Path) -> None:
    done = command(artifact, tmp_path / "out", *RTX)
    assert done.returncode == 0, done.stderr
    assert "mask: building" in done.stderr
    assert "0 plugin layers" in done.stderr
    assert "mask.plan" in done.stdout
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["engines.json", "mask.plan", "timing.cache"]
    data = json.loads((out / "engines.json").read_text())
    assert (data["runtime"], data["precision"], data["gpu"], data["plugins"]) == ("tensorrt_rtx", "fp32", None, [])
    assert data["profiles"] == [{"batches": [1, 1, 2], "canvas": [64, 64]}]
    stage = data["stages"]["mask"]
    assert stage["sha256"] == sha256(out / "mask.plan")
    assert stage["onnx_sha256"] == sha256(artifact / "mask.onnx")
    assert stage["bytes"] == (out / "mask.plan").stat().st_size
    assert command(artifact, out, *RTX).returncode == 0, "engines that are there are replaced"


@needs_rtx
def test_a_stage_with_data_in_another_file_is_refused(artifact: Path, tmp_path: Path) -> None:
    (artifact / "mask.onnx").write_bytes(external_files.model("initializer", "../w.bin").SerializeToString())
    write_manifest(artifact)
    done = command(artifact, tmp_path / "out", *RTX)
    assert done.returncode == 1
    assert "mask.onnx: got the tensor 'w' with its data in another file" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


@needs_rtx
def test_a_timing_cache_can_be_shared(artifact: Path, tmp_path: Path) -> None:
    cache = tmp_path / "caches" / "timings"
    assert command(artifact, tmp_path / "out", *RTX, "--timing-cache", cache).returncode == 0
    assert cache.read_bytes()
    assert [path.name for path in cache.parent.iterdir()] == ["timings"]
    assert not (tmp_path / "out" / "timing.cache").exists()
    cache.write_bytes(b"timings of another world")
    assert command(artifact, tmp_path / "out", *RTX, "--timing-cache", cache).returncode == 0


@needs_rtx
def test_a_plugin_that_became_its_body_is_noticed(artifact: Path, tmp_path: Path) -> None:
    """The manifest promises an op node, the network has no plugin layer: what a missing library would look like."""
    write_manifest(artifact, custom_ops={"MultiscaleRoIAlign": 1})
    code = (
        "import sys; from pathlib import Path; from maskline_export.engine.to_engine import Request, _Builder\n"
        "from maskline_export.engine.tensorrt_module import import_tensorrt\n"
        "from maskline_export.manifest import load_artifact\n"
        "folder = Path(sys.argv[1]); info = load_artifact(folder).stages['mask']\n"
        "request = Request(folder, folder, 'fp32', runtime='tensorrt_rtx')\n"
        "_Builder(import_tensorrt('tensorrt_rtx'), request, (), folder / 'none').build(folder / info.file, info)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, artifact], capture_output=True, text=True, check=False)
    assert "EngineBuildError: mask.onnx: got 0 plugin layers, expected 1 (MultiscaleRoIAlign x 1)" in done.stderr


@needs_rtx
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rtx",), "TensorRT for RTX does not take; add --plugin-free"),
        (("--rtx", "--plugin-free", "--profile", "4"), "--profile: got '4', expected MIN:OPT:MAX"),
        (("--rtx", "--plugin-free", "--precision", "int8"), "give --calibration FOLDER with at least 8"),
        (("--rtx", "--plugin-free", "--calibration", "x"), "got --calibration, which only int8 needs"),
    ],
)
def test_requests_that_make_no_sense(
    artifact: Path, tmp_path: Path, capsys: Said, arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused_before_it_builds(capsys, artifact, tmp_path / "out", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


@needs_rtx
def test_bodies_for_onnx_runtime_are_refused(artifact: Path, tmp_path: Path, capsys: Said) -> None:
    write_manifest(artifact, bodies="ort")
    line = refused_before_it_builds(capsys, artifact, tmp_path / "out", *RTX)
    assert "export with `maskline-export onnx CHECKPOINT OUT --bodies dense`" in line


@needs_rtx
@pytest.mark.parametrize(
    ("roi_align", "words"),
    [
        (RoIAlignSpec(sampling_ratio=0), "--plugin-free: got roi_align.mode 'align_avg' with sampling_ratio 0"),
        (RoIAlignSpec(mode="pool"), "--plugin-free: got roi_align.mode 'pool'"),
    ],
)
def test_what_our_plugin_alone_does_is_not_built_without_it(
    artifact: Path, tmp_path: Path, capsys: Said, roi_align: RoIAlignSpec, words: str
) -> None:
    write_manifest(artifact, spec=dataclasses.replace(tiny_spec(), roi_align=roi_align))
    line = refused_before_it_builds(capsys, artifact, tmp_path / "out", *RTX)
    assert words in line
    assert "leave --plugin-free out" in line
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


@needs_rtx
def test_a_stage_that_tensorrt_refuses_is_told_in_its_own_words(artifact: Path, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> mask (float[B,8,H2,W2] p2) => (float[B,8,H2,W2] out) '
        "{ n = NonZero (p2) out = Relu (p2) }"
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info("n", onnx.TensorProto.INT64, None))
    onnx.save(model, artifact / "mask.onnx")
    write_manifest(artifact)
    line = refused(command(artifact, tmp_path / "out", *RTX))
    assert line.startswith("maskline-export: mask.onnx: TensorRT's parser refuses it; it says: NonZero")
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


@needs_rtx
def test_tensors_that_are_not_the_manifests(artifact: Path, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> mask (float[B,8,H2,W2] p2) => (float[B,16,H2,W2] out) '
        "{ out = Concat <axis = 1> (p2, p2) }"
    )
    onnx.save(model, artifact / "mask.onnx")
    write_manifest(artifact)
    assert "TensorRT sees output out FLOAT [-1, 16, -1, -1], expected out FLOAT [-1, 8, -1, -1]" in refused(
        command(artifact, tmp_path / "out", *RTX)
    )


@needs_rtx
def test_a_foreign_folder_is_left_alone(artifact: Path, tmp_path: Path, capsys: Said) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert "exists and is not a folder of engines" in refused_before_it_builds(capsys, artifact, out, *RTX)
    assert (out / "thesis.txt").read_text() == "years of work"


def test_no_torch_is_needed_to_build_engines() -> None:
    """TensorRT's container has none, and it is 3 GB."""
    code = "import sys; import maskline_export.engine.to_engine, maskline_export.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_shows_an_example() -> None:
    done = command("--help")
    assert "Example: maskline-export engine artifacts/dense out/engines" in " ".join(done.stdout.split())
    for option in ("--precision", "--profile", "--calibration", "--plugin-library", "--plugin-free", "--rtx"):
        assert option in done.stdout
