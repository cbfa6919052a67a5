"""The extras: ONNX Runtime comes to an environment once, and `gpu` is `serve` but for the package that brings it.

onnxruntime and onnxruntime-gpu install one module: with both, the one installed last overwrites the other, silently.
"""

from contract.test_floors import PROJECT, requirements

EXTRAS = PROJECT["optional-dependencies"]
BUILDS = {"onnxruntime", "onnxruntime-gpu"}


def names(extra: str) -> set[str]:
    """The packages that an extra brings, by way of other extras too."""
    return {found.name for found in requirements({extra})}


def test_no_extra_brings_both_builds_of_onnx_runtime() -> None:
    assert {extra for extra in EXTRAS if names(extra) >= BUILDS} == set()
    assert names("serve") & BUILDS == {"onnxruntime"}
    assert names("gpu") & BUILDS == {"onnxruntime-gpu"}


def test_the_gpu_extra_serves_all_that_serve_does() -> None:
    assert names("gpu") - BUILDS == names("serve") - BUILDS


def test_what_make_env_installs_needs_no_gpu() -> None:
    assert "onnxruntime-gpu" not in names("all")
