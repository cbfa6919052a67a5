"""docs/operations.md says what the configs and the commands have: its limits, its options."""

import re
from pathlib import Path

import typer
from google.protobuf import text_format
from maskline_client.cli import app as client
from maskline_export.cli import app as export
from maskline_serve.commands import app as serve
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).parents[3]
OPTION = r"(?<![\w-])--[a-z][a-z-]+"
PAGE = " ".join((ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split())


def config(name: str) -> model_config_pb2.ModelConfig:
    text = (ROOT / "triton_repo" / "models" / name / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_limits_are_those_of_the_configs() -> None:
    preprocess = config("preprocess")
    limits = {
        key: int(preprocess.parameters[f"max_image_{key}"].string_value) for key in ("bytes", "pixels", "side_px")
    }
    sizes = (
        f"{limits['bytes'] >> 20} MiB a file, {limits['pixels'] // 10**6} megapixels, {limits['side_px']:,} px a side"
    )
    assert sizes.replace(",000", " 000") in PAGE
    seconds, size = (preprocess.parameters[f"max_decode_{key}"].string_value for key in ("seconds", "bytes"))
    assert f"| {seconds} s and {int(size) >> 20} MiB to decode a file" in PAGE
    assert f"| {preprocess.max_batch_size} images a request" in PAGE
    for name in ("preprocess", "backbone"):
        policy = config(name).dynamic_batching.default_queue_policy
        assert re.search(rf"\b{policy.max_queue_size} (requests wait )?for `{name}`", PAGE), name
        assert f"| {policy.default_timeout_microseconds // 10**6} s in one of these queues" in PAGE
    for canvas in preprocess.parameters["canvases"].string_value.split(","):
        assert canvas in PAGE


def test_every_option_on_the_page_is_one_of_a_command() -> None:
    known = {
        option
        for app in (client, serve, export)
        for command in typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        for option in parameter.opts
    }
    for launch in sorted((ROOT / "triton_repo" / "deploy").glob("*/launch.sh")):
        known |= set(re.findall(OPTION, launch.read_text("utf-8")))
    named = set(re.findall(OPTION, PAGE))
    assert {"--deep", "--drain-s", "--http-host"} <= named
    assert named <= known
