"""The target onnxruntime-gpu on disk: configs, cards, memory; and what it does not take, in one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from maskline_export.precision.low_types import is_feature
from maskline_serve.commands import app
from maskline_serve.errors import ArtifactError, RepositoryError
from maskline_serve.repository import config
from maskline_serve.repository.assemble import Target, assemble
from maskline_serve.repository.gpu.serving import Decode
from maskline_serve.repository.libraries import BACKEND_PLACE
from maskline_serve.repository.names import word_of
from maskline_serve.repository.on_disk import Repository
from serve import standin
from serve.gpu.conftest import change
from support.served_models import config_in_words, model_of
from typer.testing import CliRunner

STAGES = ("backbone", "proposal", "mask")


@pytest.fixture(scope="module")
def made(half: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu_half") / "repository"
    assemble(half, folder, Target.ONNXRUNTIME_GPU, cards=(0, 2))
    return folder


@pytest.fixture(scope="module")
def cpu(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu_cpu") / "repository"
    assemble(dense, folder)
    return folder


def test_stages_are_those_of_the_cpu_target_but_for_cards_feature_type_and_options(made: Path, cpu: Path) -> None:
    for name in STAGES:
        ours, theirs = config_in_words(made, name), config_in_words(cpu, name)
        assert [(group.Kind.Name(group.kind), group.count, list(group.gpus)) for group in ours.instance_group] == [
            ("KIND_GPU", 1, [0, 2])
        ]
        for got, expected in ((ours.input, theirs.input), (ours.output, theirs.output)):
            assert [(t.name, list(t.dims)) for t in got] == [(t.name, list(t.dims)) for t in expected]
            for mine, other in zip(got, expected, strict=True):
                assert config.dtype(mine) == ("FP16" if is_feature(mine.name) else config.dtype(other)), mine.name
        (accelerator,) = ours.optimization.execution_accelerators.gpu_execution_accelerator
        assert (accelerator.name, dict(accelerator.parameters)) == ("cuda", {"prefer_nhwc": "1", "use_tf32": "0"})
        found = {key: value.string_value for key, value in ours.parameters.items()}
        before = {key: value.string_value for key, value in theirs.parameters.items()}
        warm_up = json.loads(found.pop("warm_up"))
        assert found == before | {
            "intra_op_thread_count": "1",
            "cudnn_conv_algo_search": "1",
            "FORCE_CPU_ONLY_INPUT_TENSORS": "no",
            "batch_sizes": "1,2,4,8",
            "sessions": "shared",
        }
        assert all(set(dims) == {tensor.name for tensor in ours.input} for dims in warm_up)
        for field in ("instance_group", "optimization", "parameters", "input", "output"):
            ours.ClearField(field)
            theirs.ClearField(field)
        assert ours == theirs  # name, backend, largest batch, batching, queue


def test_code_that_decodes_on_a_card_is_there_where_it_was_asked_for(made: Path, half: Path, tmp_path: Path) -> None:
    assemble(half, tmp_path / "repository", Target.ONNXRUNTIME_GPU, decode=Decode.DEVICE)
    host, device = (
        {path.name for path in (model_of(folder, "preprocess") / "1").iterdir()}
        for folder in (made, tmp_path / "repository")
    )
    assert device - host == {"device_canvas.py", "device_decoder.py", "antialiased.onnx", "plain.onnx"}
    assert host <= device


def test_every_canvas_that_a_request_can_get_is_warmed_up_in_its_own_sizes(tmp_path: Path, dense_standin: Path) -> None:
    assemble(dense_standin, tmp_path / "repository", Target.ONNXRUNTIME_GPU)
    backbone, mask = (
        json.loads(config_in_words(tmp_path / "repository", name).parameters["warm_up"].string_value)
        for name in ("backbone", "mask")
    )
    assert [dims["canvas"] for dims in backbone] == [[64, 96, 3], [96, 64, 3], [96, 96, 3]]
    assert [dims["image_info"] for dims in backbone] == [[6]] * 3
    assert [(dims["p2"], dims["p5"]) for dims in mask] == [
        ([8, 16, 24], [8, 2, 3]), ([8, 24, 16], [8, 3, 2]), ([8, 24, 24], [8, 3, 3]),
    ]  # fmt: skip
    assert mask[0]["boxes"] == [100, 4]


def test_all_else_is_the_very_same(made: Path, cpu: Path, half: Path) -> None:
    names, here = (
        sorted(word_of(path.parent.name) for path in (folder / "models").glob("*/config.pbtxt"))
        for folder in (cpu, made)
    )
    assert names == here
    for name in set(names) - set(STAGES):
        ours, theirs = config_in_words(made, name), config_in_words(cpu, name)
        for each in (ours, theirs):
            each.parameters.pop("artifact_sha256", None)  # of another artifact
            each.parameters.pop("precision", None)
        if name in ("preprocess", "postprocess"):
            assert [group.count for group in ours.instance_group] == [4]
            ours.instance_group[0].count = theirs.instance_group[0].count
        assert ours == theirs, name
    for name in STAGES:
        assert (model_of(made, name) / "1" / "model.onnx").read_bytes() == (half / f"{name}.onnx").read_bytes()


def test_the_backend_in_python_runs_it(made: Path) -> None:
    repository = Repository.load(made)
    assert (repository.target, repository.gpu["cards"]) == ("onnxruntime-gpu", [0, 2])
    assert BACKEND_PLACE not in repository.files
    assert "backends/onnxruntime/padded_engine.py" in repository.files


def test_memory_between_the_steps_is_reserved_for_four_of_the_largest_batches(tmp_path: Path) -> None:
    spec = standin.SPEC.from_dict(
        {
            **standin.SPEC.to_dict(),
            "preprocessing": {**standin.SPEC.to_dict()["preprocessing"], "canvases": [[1344, 1344]]},
        }
    )
    change(standin.write_artifact(tmp_path / "artifact", spec), bodies="dense")
    assemble(tmp_path / "artifact", tmp_path / "repository", Target.ONNXRUNTIME_GPU)
    cells = [(-(-1344 // 2**level)) ** 2 for level in (2, 3, 4, 5, 6)]
    features = 8 * sum(cells[:4]) * 4
    rpn = 15 * sum(cells) * 4
    rows = 100 * (4 * 4 + 4 + 4 + 28 * 28 * 4) + 4
    image = 1344 * 1344 * 3 + 6 * 4 + features + rpn + rows
    unit = 256 << 20
    assert Repository.load(tmp_path / "repository").gpu["pool_bytes"] == -(-4 * 8 * image // unit) * unit


@pytest.mark.parametrize("name", standin.VARIANTS)
def test_variants_fit(tmp_path: Path, name: str) -> None:
    change(standin.write_artifact(tmp_path / "artifact", standin.VARIANTS[name]), bodies="dense")
    assert assemble(tmp_path / "artifact", tmp_path / "repository", Target.ONNXRUNTIME_GPU)
    assert not assemble(tmp_path / "artifact", tmp_path / "repository", Target.ONNXRUNTIME_GPU)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"bodies": "ort"}, "got bodies 'ort', expected 'dense'"),
        ({"bodies": "dense", "precision": "bf16"}, "got precision 'bf16', expected one of fp32, fp16"),
        ({"bodies": "dense", "precision": "int8-cpu"}, "got precision 'int8-cpu', expected one of fp32, fp16"),
    ],
)
def test_what_a_gpu_cannot_serve_is_refused_in_one_line(tmp_path: Path, entries: dict[str, str], text: str) -> None:
    change(standin.write_artifact(tmp_path / "artifact"), **entries)
    with pytest.raises(ArtifactError, match=text) as caught:
        assemble(tmp_path / "artifact", tmp_path / "repository", Target.ONNXRUNTIME_GPU)
    assert "\n" not in str(caught.value)
    assert "`maskline-export " in str(caught.value)
    assert not (tmp_path / "repository").exists()


def test_a_canvas_of_its_own_for_each_image_is_refused(tmp_path: Path, dense_standin: Path) -> None:
    manifest = json.loads((dense_standin / "manifest.json").read_text(encoding="utf-8"))
    preprocessing = {**manifest["spec"]["preprocessing"], "canvases": [], "canvas_multiple": 32}
    standin.write_artifact(tmp_path / "artifact")
    change(tmp_path / "artifact", bodies="dense", spec={**manifest["spec"], "preprocessing": preprocessing})
    with pytest.raises(ArtifactError, match=r"got canvas_multiple 32, .* expected a list of canvases"):
        assemble(tmp_path / "artifact", tmp_path / "repository", Target.ONNXRUNTIME_GPU)


@pytest.mark.parametrize("text", ["", "x", "0,", "0,0", "-1", "0 1"])
def test_cards_that_are_no_cards_are_refused(dense_standin: Path, tmp_path: Path, text: str) -> None:
    target = ["--target", "onnxruntime-gpu", f"--gpus={text}"]
    done = CliRunner().invoke(app, ["assemble", str(dense_standin), str(tmp_path / "repository"), *target])
    assert isinstance(done.exception, RepositoryError)
    assert f"--gpus: got {text!r}, expected numbers of different cards" in str(done.exception)


def test_another_target_takes_no_cards(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RepositoryError, match="target cpu: got --gpus 0,1, which only the target onnxruntime-gpu takes"
    ):
        assemble(artifact, tmp_path / "repository", cards=(0, 1))


def test_the_target_cpu_names_the_targets_of_a_typed_artifact(half: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"got p2 FP16, expected p2 FP32 .*: --target onnxruntime-gpu or tensorrt$"):
        assemble(half, tmp_path / "repository")
