"""The processes of models in Python: release 24.10 does not start a dead one again, and calls its model ready."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from maskline_serve.server.find_server import STUB
from maskline_serve.server.supervise import children


def stubs(server_pid: int | None) -> Counter[str]:
    """How many processes each model has."""
    found: Counter[str] = Counter()
    for pid in children(server_pid) if server_pid else ():
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        # STUB MODELS/<model>/<version>/model.py ...; a dead one that nobody waited for has no arguments
        if len(arguments) > 1 and Path(arguments[0]).name == STUB:
            found[Path(arguments[1]).parent.parent.name] += 1
    return found


class Stubs:
    """Tells models that lost a process from models that were unloaded.

    Args:
        known: processes of each model when all was well.
        count: gives the processes of each model.
        ready: whether the server calls a model ready: not when it is being unloaded.
    """

    def __init__(self, known: Counter[str], count: Callable[[], Counter[str]], ready: Callable[[str], bool]) -> None:
        self._count, self._ready = count, ready
        self._known = Counter(known)
        self._fewer: set[str] = set()

    def lost(self) -> str | None:
        """A model that had more processes before, in this look and the last one; None if there is none.

        Two looks, since a server of a later release starts a process again.
        """
        now = self._count()
        fewer = {model for model, count in self._known.items() if now[model] < count and self._ready(model)}
        for model in self._known.keys() | now.keys():
            if model not in fewer:
                self._known[model] = now[model]
        both = sorted(fewer & self._fewer)
        self._fewer = fewer
        return both[0] if both else None
