"""What a detector knows of its server, and how long that may be trusted; for the sync and the asyncio client.

A server may be replaced at any moment, behind an address that stays. So an answer counts only when it is known which
model gave it: the request names the artifact it is meant for, which a server with another one refuses; and the contract
is read again after an answer when it was read too long ago for a restart to be ruled out, or has no artifact to name.

A request cannot name a revision, and an answer does not say one. A new revision of the same artifact has the same
names, so nothing is misread; that it is there is noticed when the contract is read again, for every call that begins
TRUST_S after the switch or later. Answers of calls before that may be said to be of the revision before.
"""

from __future__ import annotations

import dataclasses
import math
import time

from maskline_client.contract import MASKRCNN, MASKRCNN_BOXES, EnsembleSpec
from maskline_client.errors import ClientError, ModelChanged
from maskline_client.served_model import ServedModel

TRUST_S = 0.5  # less than any server takes to load a model, so that no other one can stand in its place by then
ATTEMPTS = 3  # of one call that meets another model each time


@dataclasses.dataclass(frozen=True)
class KnownModel:
    """A model and when the server was asked for it.

    Attributes:
        model: None: not asked yet, or not sure any more.
        asked_s: of `time.monotonic`, before the question was sent.
    """

    model: ServedModel | None = None
    asked_s: float = -math.inf

    def at(self, since_s: float) -> ServedModel | None:
        """The model, if it is sure that it was served at `since_s` or later; else None."""
        if self.model is None or self.asked_s >= since_s:
            return self.model
        recent = bool(self.model.artifact) and since_s - self.asked_s < TRUST_S
        return self.model if recent else None


class Knowledge:
    """What is known of the ensembles at one address.

    Args:
        shares_failures: whether callers that wait for one question for the contract share its failure, too: where
            another address may answer at once, they need not ask again, one after the other.
    """

    def __init__(self, *, shares_failures: bool) -> None:
        self._known: dict[str, KnownModel] = {}
        self._shares_failures = shares_failures
        self._failed_s, self._failure = -math.inf, ClientError()

    def at(self, spec: EnsembleSpec, since_s: float = -math.inf) -> ServedModel | None:
        """The model behind an ensemble, if it is sure that it was served at `since_s` or later; else None."""
        known = self._known.get(spec.name)
        return None if known is None else known.at(since_s)

    def learn(self, spec: EnsembleSpec, model: ServedModel, asked_s: float) -> None:
        """Keep the answer to a question that was sent at `asked_s`."""
        self._known[spec.name] = KnownModel(model, asked_s)

    def doubt(self, spec: EnsembleSpec, model: ServedModel) -> None:
        """A request for `model` was refused because another one is served; somebody may know that one already."""
        if self.at(spec) is model:
            self._known.pop(spec.name, None)

    def forget(self) -> None:
        """Nothing is known any more."""
        self._known = {}

    def failed(self, error: ClientError) -> None:
        """Keep why the last question was not answered."""
        self._failed_s, self._failure = time.monotonic(), error

    def raise_failure(self, since_s: float) -> None:
        """Raise the failure of a question that others waited for since `since_s`."""
        if self._shares_failures and self._failed_s >= since_s:
            raise type(self._failure)(str(self._failure))


def answering(of: ServedModel | None, masks: bool) -> tuple[EnsembleSpec, ServedModel | None]:
    """The ensemble that answers, and the model `of` as this ensemble is to be; None for any."""
    return (MASKRCNN, of) if masks else (MASKRCNN_BOXES, of and of.boxes_alone())


def check_same(answered: ServedModel, expected: ServedModel | None, url: str) -> None:
    """Raise ModelChanged where a run over many images was begun with another model than the one that answered now."""
    if expected is not None and answered != expected:
        raise ModelChanged(
            f"{url}: the model changed during this run: got {_text(answered)}, expected {_text(expected)} as at its "
            "start; run it again"
        )


def _text(model: ServedModel) -> str:
    """A model in short."""
    names = ", ".join(model.classes[:3]) + (", ..." if len(model.classes) > 3 else "")
    return f"{model.identity} with the classes {names}"
