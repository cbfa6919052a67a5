"""What was run before there were scripts for it, and what runs without a GPU: rows that a person wrote."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """Something that was run, or not.

    Attributes:
        what: was run.
        where: and how.
        state: in a few words.
    """

    what: str
    where: str
    state: str


WITHOUT_GPU = (
    Row(
        "the ops on the host, generic and AVX-512, against float64 loops, torchvision, ONNX Runtime, pycocotools",
        "CPU, `make pytest`",
        "run",
    ),
    Row("the CUDA kernels, the very `.cu` files", "CPU, in the emulator, with several thread orders", "run"),
    Row(
        "the backward of MultiscaleRoIAlign, every mode, against float64 loops, autograd and torchvision",
        "CPU, in the emulator, with several thread orders; compiled for compute capability 9.0",
        "run",
    ),
    Row("the kernels compiled for every compute capability of `make plugins`", "nvcc 13.0", "compiled"),
    Row(
        "the plugins' faces: fields, shapes, formats, errors, clones, serialization",
        "CPU, in the harness, headers of TensorRT 10.14",
        "run",
    ),
    Row(
        "`enqueue` of the plugins",
        "CPU, in the harness, over the emulator: canaries, padding, two threads, the bytes of the host library",
        "run",
    ),
    Row(
        "loading by NVIDIA's own plugin registry; its ONNX parser making each plugin of a node of ours, and passing on "
        "what is wrong",
        "TensorRT for RTX 1.7, without a GPU",
        "run",
    ),
    Row(
        "every name that building and running engines takes of TensorRT's Python module",
        "CPU, in the binding of TensorRT 11.4 alone, over functions that do nothing in the place of libnvinfer",
        "run",
    ),
    Row(
        "memory, stream and events of pycuda's own binding under our code, with a kernel in the emulator",
        "CPU, over a driver that plays a GPU, `make test-pycuda`",
        "run",
    ),
    Row("registering in Triton by the shim", "against the harness's stand-in for libnvinfer", "run"),
    Row(
        "plugins and harness compiled against the headers of 10.7, 10.9, 10.10, 10.12, 10.13, 10.15, 10.16, 11.0 and "
        "11.1, and the harness run",
        "CPU, by hand on 26 November 2026; no package brings these headers: `make test-tensorrt-headers` with yours",
        "run",
    ),
    Row("compiling with nvcc 12.x", "`cmake` as plugins/README.md has it, with that nvcc", "**not yet**"),
)
ON_GPU = (
    Row(
        "the CUDA kernels (244 tests), the harness (91 of 91) with CUDA graph capture, memcheck; op by op "
        "racecheck and synccheck",
        "one H100 and one H200, CUDA 13.0, 26 November 2026, an earlier version of the kernels",
        "run, nothing found",
    ),
    Row(
        "the same, and initcheck",
        "`make test-gpu` on one H100, CUDA 13.0, 27 November 2026, before MaskRLE had its attribute `paste`",
        "run, nothing found",
    ),
    Row(
        "the custom ops at ONNX Runtime's CUDA provider: every op case, several threads, the engines of ResNet-50-FPN",
        "onnxruntime-gpu 1.31.1 on one H100, 27 November 2026",
        "run, nothing found",
    ),
    Row(
        "`maskline-train fit` in fp32, fp16 and bf16, resume, torchrun with nccl, evaluation",
        "by hand on one H100, 26 November 2026",
        "run, nothing found",
    ),
    Row(
        "a throw-away backend of Triton on ONNX Runtime's CUDA provider: 145 images/s with 48 in flight",
        "by hand on one H100, 26 November 2026; it is not in the repository",
        "run",
    ),
)
