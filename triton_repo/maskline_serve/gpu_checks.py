"""What goes wrong with the target onnxruntime-gpu, as rows for `maskline-serve doctor`: see installed.py."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from maskline_serve.errors import ServerNotFoundError
from maskline_serve.installed import Row
from maskline_serve.repository import config, names
from maskline_serve.repository.canvas_sizes import BYTES
from maskline_serve.repository.gpu.cuda_options import OVERWRITTEN
from maskline_serve.repository.on_disk import STAGES, Repository
from maskline_serve.server import find_server, gpu

_MIB = 2**20


def rows(repository: Repository, configs: dict[str, Any]) -> list[Row]:
    """The cards, ONNX Runtime for them, the memory between the steps, and options that would be lost."""
    stages = {name: parsed for name, parsed in configs.items() if names.word_of(name) in STAGES}
    return [*_machine(repository), *_decoder(repository), _pool(repository, stages), *_options(stages)]


def _machine(repository: Repository) -> Iterator[Row]:
    wanted = gpu.cards_wanted(repository)
    if not wanted:
        yield "GPU", "warning", "no stage asks for one: got KIND_CPU in their config.pbtxt, expected KIND_GPU"
        return
    no_card = gpu.cards_problem(wanted)
    yield "GPU", "error" if no_card else "ok", no_card or ", ".join(f"GPU {card}" for card in sorted(wanted))
    try:
        problem = gpu.library_problem(find_server.find())
    except ServerNotFoundError:
        return  # said elsewhere
    yield "CUDA provider", "error" if problem else "ok", problem or "loads, with CUDA and cuDNN"
    if problem is None and no_card is None:
        for name in STAGES:
            if repository.model(name).is_dir():
                yield _on_the_card(repository, name)


def _decoder(repository: Repository) -> Iterator[Row]:
    """Whether nvImageCodec decodes where `preprocess` is to; nothing where Pillow does."""
    cards = gpu.decodes_on(repository)
    if cards:
        problem = gpu.decoder_problem(repository)
        place = "the CPU" if cards == [-1] else ", ".join(f"GPU {card}" for card in cards)
        yield "decoding", "error" if problem else "ok", problem or f"JPEGs by nvImageCodec on {place}"


def _on_the_card(repository: Repository, name: str) -> Row:
    """Whether a stage loads on the card, and all of it: what the provider lacks would silently run on the CPU."""
    refused, left = gpu.load_stage(repository, name)
    if refused is not None:
        return name, "error", refused
    return name, "warning" if left else "ok", left or "loads, every node on the GPU"


def _pool(repository: Repository, stages: dict[str, Any]) -> Row:
    """Whether the largest batch fits into what the server reserves on each card."""
    got, needed = int(repository.gpu["pool_bytes"]), largest_batch_bytes(stages)
    sizes = f"{got / _MIB:.0f} MiB for tensors between the steps, the largest batch has {needed / _MIB:.0f}"
    if needed <= got:
        return "CUDA pool", "ok", sizes
    return (
        "CUDA pool",
        "warning",
        f"{sizes}: what does not fit goes through the host, silently; assemble again, with fewer or smaller canvases",
    )


def largest_batch_bytes(stages: dict[str, Any]) -> int:
    """What the stages hand on of the largest batch on the largest canvas, by their configs as they are now."""
    sums: dict[int, dict[str, int]] = {}
    for parsed in stages.values():
        dtypes = {tensor.name: config.dtype(tensor) for tensor in parsed.input}
        for canvas, dims in enumerate(json.loads(parsed.parameters["warm_up"].string_value or "[]")):
            for name, sides in dims.items():
                size = BYTES[dtypes[name]] * math.prod(sides) * parsed.max_batch_size
                sums.setdefault(canvas, {})[name] = size
    return max((sum(sizes.values()) for sizes in sums.values()), default=0)


def _options(stages: dict[str, Any]) -> Iterator[Row]:
    """Options in a place where Triton's C++ backend overwrites them."""
    for name, parsed in stages.items():
        for accelerator in parsed.optimization.execution_accelerators.gpu_execution_accelerator:
            for key in sorted(set(OVERWRITTEN) & set(accelerator.parameters)):
                yield (
                    names.word_of(name),
                    "warning",
                    f"{key} stands in gpu_execution_accelerator, where Triton's backend overwrites it, expected it "
                    f'among the parameters of the model: parameters {{ key: "{key}" ... }}',
                )
