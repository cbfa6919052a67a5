"""What the official container gets: second configs of the stages, which a real Triton takes here, and a launch file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import device
import pytest
from google.protobuf import text_format
from maskline_serve.repository.assemble import Target, assemble
from maskline_serve.repository.libraries import BACKEND_PLACE, CUSTOM_OPS_PLACE
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import canary, find_server
from maskline_serve.server.process import Ports, ServerProcess, listening
from serve.backend.test_in_process import is_ready
from serve.gpu.conftest import on_the_cpu
from serve.test_server import START_S, wait_until
from support.served_models import model_of, name_of
from tritonclient import grpc as triton
from tritonclient.grpc import model_config_pb2

pytestmark = pytest.mark.triton

STAGES = ("backbone", "proposal", "mask")


def parsed(path: Path) -> Any:
    return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def test_it_is_the_config_with_our_ops_and_a_warm_up_of_every_size(half: Path, tmp_path: Path) -> None:
    device.backend()  # else there are no ops to name
    assemble(half, tmp_path / "repository", Target.ONNXRUNTIME_GPU)
    repository = Repository.load(tmp_path / "repository")
    for name in STAGES:
        model = repository.model(name)
        official, plain = parsed(model / "configs" / "official.pbtxt"), parsed(model / "config.pbtxt")
        libraries = list(official.model_operations.op_library_filename)
        assert libraries == ([] if name == "backbone" else [f"/repository/{CUSTOM_OPS_PLACE}"])
        assert len(official.model_warmup) == 3 * 8
        assert {each.batch_size for each in official.model_warmup} == set(range(1, 9))
        types = {tensor.name: tensor.data_type for tensor in plain.input}
        for each in official.model_warmup:
            assert {key: value.data_type for key, value in each.inputs.items()} == types
            assert all(value.zero_data and min(value.dims) > 0 for value in each.inputs.values())
        official.ClearField("model_operations")
        official.ClearField("model_warmup")
        assert official == plain
        assert f"models/{model.name}/configs/official.pbtxt" in repository.files


@contextmanager
def served(folder: Path) -> Iterator[tuple[triton.InferenceServerClient, ServerProcess]]:
    """Within: a server that takes the official configs; the C++ backend is ours, on the CPU."""
    ports = Ports.claim("127.0.0.1", 0, 0, 0)
    services = [*listening("127.0.0.1", ports), "--model-config-name=official"]
    process = ServerProcess(find_server.find(), [Repository.load(folder)], services, 1, lambda line: None, False)
    try:
        with triton.InferenceServerClient(f"127.0.0.1:{ports.grpc}") as client:
            yield client, process
    finally:
        process.stop()


@pytest.fixture
def in_process(half: Path, tmp_path: Path) -> Path:
    folder = on_the_cpu(half, tmp_path / "repository")
    shutil.copyfile(device.backend(), folder / BACKEND_PLACE)
    return folder


def test_a_real_triton_warms_up_by_it_and_answers(in_process: Path) -> None:
    with served(in_process) as (client, process):
        wait_until(lambda: is_ready(client, process), START_S, "the start")
        assert canary.check(client, Repository.load(in_process), START_S) >= 0
        assert client.get_model_config(name_of(in_process, "mask")).config.model_warmup


def test_a_warm_up_that_fails_ends_the_start(in_process: Path) -> None:
    config = model_of(in_process, "mask") / "configs" / "official.pbtxt"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("TYPE_FP32 dims: [ 100, 4 ]", "TYPE_FP32 dims: [ 99, 4 ]"), encoding="utf-8")
    with served(in_process) as (_, process):
        wait_until(lambda: process.status() is not None, START_S, "the end")
        assert name_of(in_process, "mask") in process.log.failed


def launch(script: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(script), "--http-port=9000"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_launch_file_reserves_memory_and_names_the_configs(half: Path, tmp_path: Path) -> None:
    assemble(half, tmp_path / "repository", Target.ONNXRUNTIME_GPU, cards=(0, 3))
    script = tmp_path / "repository" / "launch.sh"
    assert os.access(script, os.X_OK)
    elsewhere = launch(script)
    assert elsewhere.returncode == 1
    assert elsewhere.stderr == (
        f"launch.sh: got {tmp_path}/repository, expected /repository, where the configs look for our ops; "
        "mount or copy it there\n"
    )
    script.write_text(script.read_text(encoding="utf-8").replace("!= /repository", f"!= {tmp_path}/repository"))
    stand_in = tmp_path / "bin" / "tritonserver"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho "$ORT_DISABLE_TELEMETRY" "$@"\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    size = Repository.load(tmp_path / "repository").gpu["pool_bytes"]
    said = launch(script, PATH=path).stdout.split()
    assert said[:3] == ["1", f"--model-repository={tmp_path}/repository/models", "--model-config-name=official"]
    assert said[-3:] == [
        f"--cuda-memory-pool-byte-size=3:{size}", f"--cuda-memory-pool-byte-size=0:{size}", "--http-port=9000"
    ]  # fmt: skip
    assert "--cuda-memory-pool-byte-size=3:7" in launch(script, PATH=path, CUDA_POOL_BYTES="7").stdout


def test_every_flag_is_known_to_the_server(half: Path, tmp_path: Path) -> None:
    assemble(half, tmp_path / "repository", Target.ONNXRUNTIME_GPU)
    text = (tmp_path / "repository" / "launch.sh").read_text(encoding="utf-8")
    installation = find_server.find()
    known = subprocess.run(
        [str(installation.program), "--help"],
        env=find_server.environment(installation), capture_output=True, text=True, check=False,
    )  # fmt: skip
    flags = {word.split("=")[0] for word in text.split() if word[:2] == "--" != word and "http-port" not in word}
    assert len(flags) == 15
    assert all(flag in known.stdout + known.stderr for flag in flags)
