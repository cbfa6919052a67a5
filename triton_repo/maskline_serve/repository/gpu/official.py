"""What the official container needs of a GPU repository: launch file, build file, and a second config of each stage.

Triton takes `models/NAME/configs/official.pbtxt` in the place of config.pbtxt with `--model-config-name=official`. It
says in the C++ backend's own terms what the backend in Python reads in parameters: where our ops are, and what to warm
up; every size, since that backend fills no batch up. The wheel's server must not have it: a warm-up of Triton's sends
whole features through the shared memory of Python's processes, which keeps its largest size.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from maskline_serve.repository import config
from maskline_serve.repository.artifact import Stage
from maskline_serve.repository.canvas_sizes import dims_on
from maskline_serve.repository.gpu.serving import BATCH_SIZES, GpuServing
from maskline_serve.repository.libraries import CUSTOM_OPS_PLACE

NAME = "official"
PLACE = "/repository"  # of the repository inside the container


def write(folder: Path, serving: GpuServing, stages: dict[str, Stage], pool_bytes: int, deploy: Path) -> None:
    """Write them into a repository whose configs and libraries are there already.

    Args:
        folder: the repository.
        serving: how it is served.
        stages: of the artifact.
        pool_bytes: memory on each card for tensors between the steps.
        deploy: the folder with the files to copy.
    """
    shutil.copyfile(deploy / "Containerfile", folder / "Containerfile")
    text = (deploy / "launch.sh").read_text(encoding="utf-8")
    text = text.replace("@CARDS@", " ".join(map(str, serving.cards))).replace("@POOL_BYTES@", str(pool_bytes))
    (folder / "launch.sh").write_text(text, encoding="utf-8")
    (folder / "launch.sh").chmod(0o755)
    has_library = (folder / CUSTOM_OPS_PLACE).is_file()
    for name, stage in stages.items():
        model = folder / "models" / name
        where = f"models/{name}/configs/{NAME}.pbtxt"
        made = [(model / "config.pbtxt").read_text(encoding="utf-8").rstrip()]
        if has_library and stage.custom_ops:
            made.append(f'model_operations {{ op_library_filename: "{PLACE}/{CUSTOM_OPS_PLACE}" }}')
        made += [_warm_up(serving, stage)]
        text = "\n".join(made) + "\n"
        config.parse(text, where)
        (model / "configs").mkdir()
        (model / "configs" / f"{NAME}.pbtxt").write_text(text, encoding="utf-8")


def _warm_up(serving: GpuServing, stage: Stage) -> str:
    """`model_warmup` with every batch size on every canvas, of zeros."""
    lines = ["model_warmup ["]
    for height, width in serving.canvases:
        for size in range(BATCH_SIZES[-1], 0, -1):  # the largest first: memory is taken once
            lines.append(f'  {{\n    name: "{size} on {height}x{width}"\n    batch_size: {size}')
            for item in stage.inputs:
                dims = ", ".join(map(str, dims_on(item, (height, width))))
                value = f"data_type: TYPE_{serving.dtypes[item.name]} dims: [ {dims} ] zero_data: true"
                lines.append(f'    inputs {{ key: "{item.name}" value: {{ {value} }} }}')
            lines.append("  },")
    lines[-1] = "  }"
    return "\n".join([*lines, "]"])
