"""Every node of every stage runs at the provider that was asked for: none falls back to the CPU."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

from maskline_host.library import custom_ops_path

from maskline_bench.engines.__main__ import make_batch
from maskline_bench.engines.sessions import Sessions
from maskline_bench.made_model import MadeModel
from maskline_bench.owed.task import Device, run_task, scratch, served_artifact

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def measure(made: MadeModel, device: Device) -> dict[str, Any]:
    """Nodes of each stage by provider, as ONNX Runtime's own profile of one call has them."""
    with scratch() as folder:
        stages = Sessions(served_artifact(made, device), device, 2, custom_ops_path(), profile=Path(folder))
        arrays, _ = make_batch(made.setting, 1)
        stages.run(stages.put(arrays))
        found = {name: nodes_of(Path(session.end_profiling())) for name, session in stages.stages.items()}
    elsewhere = {
        name: {operator: provider for operator, provider in nodes if provider != _PROVIDERS[device]}
        for name, nodes in found.items()
    }
    return {
        "nodes": {name: dict(collections.Counter(provider for _, provider in nodes)) for name, nodes in found.items()},
        "elsewhere": elsewhere,
        "fallen_back": sum(provider != _PROVIDERS[device] for nodes in found.values() for _, provider in nodes),
    }


def nodes_of(profile: Path) -> list[tuple[str, str]]:
    """Operator and provider of each node that ran, of a profile of ONNX Runtime."""
    events = json.loads(profile.read_text(encoding="utf-8"))
    runs = (event["args"] for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"))
    return [(args["op_name"], args["provider"]) for args in runs]


if __name__ == "__main__":
    run_task("owed fallback", measure)
