"""What our code takes of TensorRT's Python module is in that of TensorRT 11, whose library no package brings.

NVIDIA's binding alone (the package tensorrt-cu13-bindings) loads over functions that do nothing, in libnvinfer's place.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import maskline_export.engine
import pytest

ENGINE = Path(maskline_export.engine.__file__).parent
MODULE = ""  # a variable that is the module itself
# Of each file, the variables whose attributes are TensorRT's: what class they are of.
VARIABLES = {
    "tensorrt_module.py": {"trt": MODULE},
    "plugin_library.py": {"trt": MODULE, "registry": "IPluginRegistry"},
    "to_engine.py": {
        "trt": MODULE,
        "_trt": MODULE,
        "_builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
    },
    "run_engine.py": {
        "trt": MODULE,
        "runtime": "Runtime",
        "engine": "ICudaEngine",
        "context": "IExecutionContext",
    },
}
OF_RTX_ALONE = {"ComputeCapability", "IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability"}
# What the binding asks of TensorRT's libraries when it is loaded, and later.
FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
LOAD = """
import functools, importlib.util, json, os, sys
sys.setdlopenflags(os.RTLD_LAZY)
spec = importlib.util.spec_from_file_location("tensorrt", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
names = json.loads(sys.argv[2])
def has(name):
    try:
        functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        return False
    return True
print(json.dumps([name for name in names if not has(name)]))
"""


def taken(file: Path, variables: dict[str, str]) -> set[str]:
    """Dotted names, from the module down, of every attribute of these variables that the file takes."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        path: list[str] = []
        while isinstance(node, ast.Attribute) and node.attr not in variables:
            path.insert(0, node.attr)
            node = node.value
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
        if path and name in variables and not path[0].startswith("__"):
            found.add(".".join(([variables[name]] if variables[name] else []) + path))
    return found


def stand_ins(folder: Path) -> Path:
    """TensorRT's three libraries by name, of functions that return null; the folder that holds them."""
    source = folder / "nothing.cpp"
    source.write_text("".join(f'extern "C" void* {name}() {{ return nullptr; }}\n' for name in FUNCTIONS))
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "c++", "g++", "clang++"))))
    for name in ("libnvinfer.so.11", "libnvonnxparser.so.11", "libnvinfer_plugin.so.11"):
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source]
        subprocess.run(command, check=True)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="the package is for Linux")
def test_every_name_is_in_the_module_of_tensorrt_11(tmp_path: Path) -> None:
    names = set().union(*(taken(ENGINE / file, variables) for file, variables in VARIABLES.items()))
    assert {"Builder.create_network", "LayerType.PLUGIN_V3", "IExecutionContext.execute_async_v3"} <= names
    spec = importlib.util.find_spec("tensorrt_bindings")
    assert spec is not None, "tensorrt-cu13-bindings is missing; `make env` installs it"
    assert spec.submodule_search_locations is not None
    (binding,) = Path(spec.submodule_search_locations[0]).glob("tensorrt*.so")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, binding, json.dumps([*sorted(names), "no.such", "Builder.no_such"])],
        env={**os.environ, "LD_LIBRARY_PATH": str(stand_ins(tmp_path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {*OF_RTX_ALONE & names, "no.such", "Builder.no_such"}
