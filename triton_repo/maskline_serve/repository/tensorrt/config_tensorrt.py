"""What the TensorRT target changes in the text of a config.pbtxt: backend, instance group, types, batch size.

As in config.py, the text is edited in place and then parsed and compared with what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tritonclient.grpc import model_config_pb2

from maskline_serve.repository import config

_PROBLEM = "cannot change this text for TensorRT; write it in the usual form"


def with_tensorrt(text: str, dtypes: Mapping[str, str], num_profiles: int, where: str) -> str:
    """The text of a stage's config for Triton's TensorRT backend.

    Args:
        text: the stage's config for ONNX Runtime.
        dtypes: tensor name -> dtype as the engine has it, e.g. `FP16`.
        num_profiles: of the plan; Triton picks the one that fits a batch.
        where: for errors.

    Raises:
        RepositoryError: the text cannot be changed in place.
    """
    text = config.with_dtypes(text, dtypes, where)
    meant = config.parse(text, where)
    meant.platform, meant.backend = "tensorrt_plan", "tensorrt"
    profiles = [str(index) for index in range(num_profiles)]
    for group in meant.instance_group:
        group.kind = model_config_pb2.ModelInstanceGroup.Kind.KIND_GPU
        group.profile[:] = profiles
    meant.ClearField("parameters")  # all of them are ONNX Runtime's
    text = text.replace('backend: "onnxruntime"', 'platform: "tensorrt_plan"\nbackend: "tensorrt"')
    listed = ", ".join(f'"{profile}"' for profile in profiles)
    text = re.sub(r"\{ kind: KIND_CPU count: (\d+) \}", rf"{{ kind: KIND_GPU count: \1 profile: [ {listed} ] }}", text)
    text = re.sub(r"(?:^#[^\n]*\n)*^parameters \{[^\n]*\n", "", text, flags=re.MULTILINE)
    return config.checked(text, meant, where, _PROBLEM)


def with_max_batch(text: str, size: int, where: str) -> str:
    """The text with `max_batch_size` at most `size`.

    Raises:
        RepositoryError: the text cannot be changed in place.
    """
    meant = config.parse(text, where)
    meant.max_batch_size = min(meant.max_batch_size, size)
    text = re.sub(r"^max_batch_size: \d+", f"max_batch_size: {meant.max_batch_size}", text, flags=re.MULTILINE)
    return config.checked(text, meant, where, _PROBLEM)
