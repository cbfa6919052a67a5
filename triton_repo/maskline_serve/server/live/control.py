"""Triton's model control: what loads and unloads models of a running server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from tritonclient import grpc as triton

from maskline_serve.errors import ModelNotLoadedError, ServerFailedError
from maskline_serve.server.logs import one_line

POLL_SECONDS = 0.05
_NOT_LOADED = ("load failed for model", "failed to load", "failed to poll")  # of the model, not of the server
_NOT_ALLOWED = "explicit model load / unload is not allowed"


class ModelControl:
    """Loads, unloads, and tells what is loaded.

    Args:
        client: of the server; a load may take as long as `timeout_s`.
        headers: what lets a call pass where model control is restricted.
        timeout_s: of one call.
    """

    def __init__(self, client: triton.InferenceServerClient, headers: Mapping[str, str], timeout_s: float) -> None:
        self.client, self._headers, self._timeout_s = client, dict(headers), timeout_s

    def load(self, model: str) -> None:
        """Load a model as its folder has it now; one that is loaded goes on answering until the new one can.

        Raises:
            ModelNotLoadedError: it does not load; what was loaded before stays.
            ServerFailedError: the server does not do it, or is gone.
        """
        try:
            self.client.load_model(model, headers=self._headers, client_timeout=self._timeout_s)
        except triton.InferenceServerException as error:
            text = one_line(str(error.message()))
            if any(said in text for said in _NOT_LOADED):
                raise ModelNotLoadedError(f"model {model} did not load: {text}") from None
            raise _failed(f"load {model}", error) from None

    def unload(self, model: str) -> None:
        """Let go of a model once the requests that it has are answered; at once of one that is not loaded.

        Raises:
            ServerFailedError: the server does not do it, or is gone.
        """
        try:
            self.client.unload_model(model, headers=self._headers, client_timeout=self._timeout_s)
        except triton.InferenceServerException as error:
            raise _failed(f"unload {model}", error) from None

    def states(self) -> dict[str, str]:
        """Model -> READY, UNLOADING, UNAVAILABLE, or empty for one that was never asked for.

        Raises:
            ServerFailedError: the server does not say.
        """
        try:
            index = self.client.get_model_repository_index(headers=self._headers, client_timeout=self._timeout_s)
        except triton.InferenceServerException as error:
            raise _failed("the index of its models", error) from None
        return {model.name: model.state for model in index.models}

    def wait_while(self, state: str, models: Iterable[str], seconds: float) -> list[str]:
        """Wait while any of these models is in a state, e.g. UNLOADING: it still has requests.

        Returns:
            Those that are in it after all this time.
        """
        deadline, wanted = time.monotonic() + seconds, set(models)
        while True:
            left = [model for model, found in self.states().items() if model in wanted and found == state]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(POLL_SECONDS)


def _failed(what: str, error: triton.InferenceServerException) -> ServerFailedError:
    """The failure of a call."""
    text = one_line(str(error.message()))
    if _NOT_ALLOWED in text:
        text = "the server is not under explicit model control; start it with `maskline-serve run --control explicit`"
    return ServerFailedError(f"{what}: {error.status()}: {text}")
