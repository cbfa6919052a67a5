"""How a server under explicit model control takes leave: not ready, then no new request, then none in flight.

Triton itself stops all models at once and loses requests between two steps of an ensemble (release 24.10). An ensemble
that is unloaded keeps its steps until the last of its requests is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from maskline_serve.errors import ModelNotLoadedError, ServeError
from maskline_serve.server.live.control import ModelControl
from maskline_serve.server.live.folder import LiveFolder

# A model that cannot load: Triton is not ready (`--strict-readiness`) while one stands as failed, and answers on.
LEAVING = "leaving"
_CONFIG = """# Never loads: a server that was asked to load it says that it is not ready, and answers on.
name: "leaving"
backend: "none"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""
_POLL_SECONDS = 0.05


def leave(
    live: LiveFolder, control: ModelControl, leave_s: float, drain_s: float, is_running: Callable[[], bool]
) -> list[str]:
    """Bring a server to where it can be stopped without losing a request.

    Args:
        live: its folder of models.
        control: of the server.
        leave_s: how long it answers on while it says that it is not ready.
        drain_s: how long requests in flight may take from then on.
        is_running: False ends the waiting.

    Returns:
        The ensembles that still had requests when the time was over.

    Raises:
        ServeError: the server does not do as it is told, or an update is running: it can only be stopped.
    """
    with live.changing():
        _say_not_ready(live, control)
        deadline = time.monotonic() + leave_s
        while time.monotonic() < deadline and is_running():
            time.sleep(_POLL_SECONDS)
        ensembles = live.ensembles()
        for ensemble in ensembles:
            control.unload(ensemble)
        return control.wait_while("UNLOADING", ensembles, drain_s)


def _say_not_ready(live: LiveFolder, control: ModelControl) -> None:
    live.write_config(LEAVING, _CONFIG)
    try:
        control.load(LEAVING)
    except ModelNotLoadedError:
        return
    raise ServeError(f"{LEAVING}: got a model that loads, expected one that does not")
