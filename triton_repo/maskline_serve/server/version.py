"""The version that a tritonserver states of itself, learned by starting it without models and ports."""

from __future__ import annotations

import time

from maskline_serve.errors import ServerNotFoundError
from maskline_serve.server.find_server import Installation
from maskline_serve.server.logs import tail
from maskline_serve.server.process import NO_SERVICES, ServerProcess

START_SECONDS = 60.0  # the server states its version within a second; this is for a machine with much to do
POLL_SECONDS = 0.02


def stated_version(installation: Installation) -> str:
    """The version, such as 2.51.0.

    Raises:
        ServerNotFoundError: it ends, or says nothing for a minute.
    """
    process = ServerProcess(installation, (), NO_SERVICES, 0, lambda line: None, False)
    try:
        deadline = time.monotonic() + START_SECONDS
        while process.log.version is None and process.status() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    finally:
        process.stop()
    if process.log.version is None:
        said = process.log.last_error or tail(process.lines) or "nothing"
        raise ServerNotFoundError(f"{installation.program} does not start as tritonserver does; it last said: {said}")
    return process.log.version
