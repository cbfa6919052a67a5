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

from maskline_client.errors import ModelChanged
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
