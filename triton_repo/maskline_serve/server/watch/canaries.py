"""Canary images while a server runs: is it dead, or is its queue only long?"""

from __future__ import annotations

import threading
import time

from tritonclient import grpc as triton

from maskline_serve.errors import ServeError
from maskline_serve.server.triton_server import TritonServer
from maskline_serve.server.watch.status import Status

IN_A_ROW = 2  # canary images that must fail before a server counts as dead
AGAIN_SECONDS = 1.0  # after one that failed
LARGEST_SHARE = 20  # a canary image is a whole one for the network: it may cost a 20th of the machine's time
FULL_QUEUE_SECONDS = 0.2  # before the next try
QUESTION_SECONDS = 5.0  # for what the server answers without computing anything
# What Triton says of a queue, and gRPC of the time.
FULL, EXPIRED, DEADLINE = "maximum queue size", "Request timeout expired", "DEADLINE_EXCEEDED"


class Canaries(threading.Thread):
    """Sends canary images to one start of a server until `stop`, and tells `status` of each.

    A canary image that waits too long, or finds the queue full, says nothing while other requests are answered.

    Attributes:
        dead: why the server counts as dead, or None.
    """

    def __init__(self, server: TritonServer, status: Status, every_s: float, deadline_s: float) -> None:
        super().__init__(daemon=True)
        self.dead: str | None = None
        self._server, self._status = server, status
        self._every_s, self._deadline_s = every_s, deadline_s
        self._over = threading.Event()
        self._telling = threading.Lock()

    def stop(self) -> None:
        """Send and tell no more: one that is on its way is not waited for, and what it finds is of the past."""
        with self._telling:
            self._over.set()

    def run(self) -> None:
        """The thread's work."""
        try:
            self._send()
        except Exception as error:  # a watch that ended unseen would call everything well for ever
            self.dead = f"no canary image can be sent: {type(error).__name__}: {error}"

    def _send(self) -> None:
        """Send canary images until `stop`, or until so many failed."""
        pause, wrong = self._every_s, 0
        with self._server.client() as client:
            while not self._over.wait(pause):
                start = time.monotonic()
                reason = self._once(client)
                seconds = time.monotonic() - start
                if not self._tell(reason, seconds):
                    return
                if reason is None:
                    wrong, pause = 0, max(self._every_s, LARGEST_SHARE * seconds)
                elif reason:
                    wrong, pause = wrong + 1, AGAIN_SECONDS
                if wrong >= IN_A_ROW:
                    self.dead = f"{reason} ({wrong} in a row)"
                    return

    def _tell(self, reason: str | None, seconds: float) -> bool:
        """Tell the status of one that took so long, as `_once` has it; False after `stop`."""
        with self._telling:
            if self._over.is_set():
                return False
            if reason is None:
                self._status.right(seconds)
                self._status.serves(served(self._server))
            elif reason:
                self._status.wrong(reason)
            return True

    def _once(self, client: triton.InferenceServerClient) -> str | None:
        """None: it came back right; a text: what was wrong; an empty text: the server was busy with other requests."""
        before, deadline = _answered(client), time.monotonic() + self._deadline_s
        while True:
            try:
                self._server.check(client, max(FULL_QUEUE_SECONDS, deadline - time.monotonic()))
            except ServeError as error:
                text = str(error)
            else:
                return None
            if FULL not in text or time.monotonic() > deadline:
                break
            time.sleep(FULL_QUEUE_SECONDS)
        if not any(words in text for words in (FULL, EXPIRED, DEADLINE)):
            return text
        if _any_ensemble(client, {name for name, count in _answered(client).items() if count != before.get(name)}):
            return ""
        return f"{text}; nor was another request answered in {self._deadline_s:g} s"


def served(server: TritonServer) -> list[dict[str, str]]:
    """What `/health` and the metric `maskline_info` say of each repository that a server has now."""
    return [
        {
            "name": repository.name,
            "revision": repository.revision,
            "artifact_sha256": repository.artifact["manifest_sha256"],
            "precision": repository.precision,
            "maskline": repository.maskline,
        }
        for repository in server.served()
    ]


def _answered(client: triton.InferenceServerClient) -> dict[str, int]:
    """How many requests each model answered; nothing when the server does not say."""
    try:
        models = client.get_inference_statistics(client_timeout=QUESTION_SECONDS).model_stats
    except triton.InferenceServerException:
        return {}
    return {model.name: model.inference_stats.success.count for model in models}


def _any_ensemble(client: triton.InferenceServerClient, models: set[str]) -> bool:
    """Whether one of the models is an ensemble: what a step did alone reached nobody."""
    try:
        configs = [client.get_model_config(name, client_timeout=QUESTION_SECONDS).config for name in models]
    except triton.InferenceServerException:
        return False
    return any(config.platform == "ensemble" for config in configs)
