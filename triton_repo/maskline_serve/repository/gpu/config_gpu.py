"""What the target onnxruntime-gpu changes in the text of a stage's config.pbtxt: cards, types, the provider's options.

As in config.py, the text is edited in place and then parsed and compared with what was meant. The same file serves with
Triton's own C++ backend, which leaves aside the parameters that ours alone knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tritonclient.grpc import model_config_pb2

from maskline_serve.repository import config
from maskline_serve.repository.artifact import Stage
from maskline_serve.repository.gpu.serving import BATCH_SIZES, Decode, GpuServing

_PROBLEM = "cannot change this text for a GPU; write it in the usual form"
# Options of the CUDA provider. prefer_nhwc: float16 convolutions are faster so. TF32 keeps 10 bits of a factor.
PROVIDER_OPTIONS = {"prefer_nhwc": "1", "use_tf32": "0"}
_PARAMETERS = {
    # The work is the card's: a session's own threads would only wait.
    "intra_op_thread_count": "1",
    # HEURISTIC: EXHAUSTIVE, the default, tries every algorithm for up to a second at each new shape. The C++ backend
    # overwrites this one where it stands among the provider's options.
    "cudnn_conv_algo_search": "1",
    # Else the Python backend copies what lies on the card to the host, and hands that over.
    "FORCE_CPU_ONLY_INPUT_TENSORS": "no",
    "batch_sizes": ",".join(map(str, BATCH_SIZES)),
    "sessions": "shared",
}


# Processes of the steps on the host, of which one is slower than a card. Four each served 145 images/s on an H100.
PROCESSES = {"preprocess": 4, "postprocess": 4}
# Of `preprocess` on each card, where it decodes there: each has a context of CUDA, some hundred MB. Not measured yet.
DECODERS = 2


def for_gpu(text: str, name: str, serving: GpuServing, stages: Mapping[str, Stage], where: str) -> str:
    """The text of model `name`'s config for a GPU: cards and options of a stage, more processes beside it.

    Raises:
        RepositoryError: the text cannot be changed in place.
    """
    if name in stages:
        return with_gpu(text, serving, stages[name], where)
    if name == "preprocess" and serving.decode is Decode.DEVICE:
        return with_decoding(text, serving, where)
    return with_processes(text, PROCESSES[name], where) if name in PROCESSES else text


def with_processes(text: str, count: int, where: str) -> str:
    """The text of a Python model's config with so many processes.

    Raises:
        RepositoryError: the text cannot be changed in place.
    """
    meant = config.parse(text, where)
    for group in meant.instance_group:
        group.count = count
    return config.checked(
        re.sub(r"\{ kind: KIND_CPU count: \d+ \}", f"{{ kind: KIND_CPU count: {count} }}", text), meant, where, _PROBLEM
    )


def with_decoding(text: str, serving: GpuServing, where: str) -> str:
    """The text of `preprocess`'s config for decoding on the cards.

    Raises:
        RepositoryError: the text cannot be changed in place.
    """
    meant = config.parse(text, where)
    text = config.checked(_on_cards(text, meant, serving.cards, DECODERS), meant, where, _PROBLEM)
    return config.with_parameter(text, "decode", serving.decode.value, where)


def _on_cards(text: str, meant: Any, cards: tuple[int, ...], count: int) -> str:
    """The text with so many instances on each card; changes `meant` likewise."""
    for group in meant.instance_group:
        group.kind = model_config_pb2.ModelInstanceGroup.Kind.KIND_GPU
        group.count = count
        group.gpus[:] = cards
    instances = f"{{ kind: KIND_GPU count: {count} gpus: [ {', '.join(map(str, cards))} ] }}"
    return re.sub(r"\{ kind: KIND_CPU count: \d+ \}", instances, text)


def with_gpu(text: str, serving: GpuServing, stage: Stage, where: str) -> str:
    """The text of a stage's config for ONNX Runtime on a GPU.

    Raises:
        RepositoryError: the text cannot be changed in place.
    """
    text = config.with_dtypes(text, serving.dtypes, where)
    meant = config.parse(text, where)
    text = _on_cards(text, meant, serving.cards, 1)
    accelerator = meant.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda")
    accelerator.parameters.update(PROVIDER_OPTIONS)
    options = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in PROVIDER_OPTIONS.items())
    text = (
        f"{text.rstrip()}\n# Of ONNX Runtime's CUDA provider.\noptimization {{ execution_accelerators {{ "
        f'gpu_execution_accelerator [ {{ name: "cuda" {options} }} ] }} }}\n'
    )
    text = config.checked(text, meant, where, _PROBLEM)
    for key, value in {**_PARAMETERS, "warm_up": serving.warm_up(stage)}.items():
        text = config.with_parameter(text, key, value, where)
    return text
