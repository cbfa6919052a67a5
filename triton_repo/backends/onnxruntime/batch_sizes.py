"""Which batch sizes are run, and whether one session runs them all: the one place of that policy.

One session for all sizes, and HEURISTIC as the search for algorithms: Triton's own C++ backend can do no other, and
weights are on the card once. A session each (`sessions: each`) keeps the plan of every size where ONNX Runtime keeps
that of a convolution's last shape alone. Which is faster, `python -m maskline_bench.engines.alternating` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

PARAMETER, SESSIONS = "batch_sizes", "sessions"
SHARED, EACH = "shared", "each"

Session = TypeVar("Session")


def sizes(config: dict[str, Any]) -> list[int]:
    """The sizes that a config.pbtxt (as Triton's JSON) asks for; none: batches run as they come.

    Raises:
        ValueError: not ascending numbers up to the largest batch of the model.
    """
    text, largest = _parameter(config, PARAMETER), int(config.get("max_batch_size", 0))
    if not text:
        return []
    parts = [part.strip() for part in text.split(",")]
    found = [int(part) for part in parts if part.isdigit()]
    if len(found) < len(parts) or found != sorted(set(found)) or found[0] < 1 or found[-1] < largest:
        raise ValueError(
            f"config.pbtxt: parameter {PARAMETER}: got {text!r}, expected ascending numbers, the last of which is not "
            f"below max_batch_size {largest}"
        )
    return found


def sessions(config: dict[str, Any], load: Callable[[], Session]) -> dict[int, Session]:
    """Batch size -> its session; `load` makes one.

    Raises:
        ValueError: the parameter `sessions` is neither `shared` nor `each`.
    """
    how = _parameter(config, SESSIONS) or SHARED
    if how not in (SHARED, EACH):
        raise ValueError(f"config.pbtxt: parameter {SESSIONS}: got {how!r}, expected {SHARED} or {EACH}")
    if how == EACH:
        return {size: load() for size in sizes(config)}
    return dict.fromkeys(sizes(config), load())


def _parameter(config: dict[str, Any], key: str) -> str:
    return str(config.get("parameters", {}).get(key, {}).get("string_value", ""))
