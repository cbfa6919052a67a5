"""engines.json: its round trip, and one clear line for what it is not."""

import json
from pathlib import Path

import pytest
from maskline_export.engine.engine_manifest import FILE, EngineInfo, EngineManifest, load_engines
from maskline_export.engine.plugin_library import PluginFile
from maskline_export.engine.profiles import Profile
from maskline_export.errors import EngineBuildError
from maskline_export.manifest import TensorInfo

TENSOR = TensorInfo("p2", "FP16", ("B", 8, "H2", "W2"))
ENGINES = EngineManifest(
    maskline="0.1.0",
    runtime="tensorrt",
    version="10.14.1.48",
    compute_capability="9.0",
    gpu="NVIDIA H200",
    precision="fp16",
    plugins=(PluginFile("libmaskline_trt.so", "0" * 64),),
    profiles=(Profile((1, 4, 8), (96, 128)),),
    stages={"mask": EngineInfo("mask.plan", "1" * 64, 123, "2" * 64, 1, 1.5, (TENSOR,), ())},
)


def test_round_trip(tmp_path: Path) -> None:
    ENGINES.save(tmp_path)
    assert load_engines(tmp_path) == ENGINES
    assert json.loads((tmp_path / FILE).read_text())["format"] == "maskline-engines/1"


def test_what_is_no_folder_of_engines(tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match="expected a folder written by `maskline-export engine`"):
        load_engines(tmp_path)
    for text, words in [
        ("{", "malformed"),
        ("[]", "malformed"),
        ('{"format": "maskline-engines/9"}', "got format 'maskline-engines/9', expected 'maskline-engines/1'"),
        ('{"format": "maskline-engines/1"}', "malformed"),
    ]:
        (tmp_path / FILE).write_text(text)
        with pytest.raises(EngineBuildError, match=words) as caught:
            load_engines(tmp_path)
        assert "\n" not in str(caught.value)
