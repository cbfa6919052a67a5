"""Which models a server has: what its repository index says, and what to tell who asked for another one."""

from __future__ import annotations

from typing import Any

from tritonclient.utils import InferenceServerException

from maskline_client.contract import ENGINES_KIND, RAW_KIND, EnsembleSpec
from maskline_client.errors import ClientError, ContractMismatch, ServerUnavailable

_UNKNOWN = "unknown model"  # what Triton says of a name that it does not have, with NOT_FOUND or UNAVAILABLE
_NOT_LOADED = "has no available versions"  # what it says of a name that it has
_READY = "READY"


def says_unknown(failure: InferenceServerException) -> bool:
    """Whether a call failed because the server has no model of that name, or none that is loaded."""
    return _UNKNOWN in str(failure.message()).lower()


def never_heard_of(failure: InferenceServerException) -> bool:
    """Whether a call failed because the server has no model of that name, loaded or not."""
    return says_unknown(failure) and _NOT_LOADED not in str(failure.message())


def served_names(index: Any) -> tuple[str, ...]:
    """Names of the models that are loaded, in alphabetical order: those by which clients ask, no steps.

    Args:
        index: Triton's RepositoryIndexResponse.
    """
    ready = {str(entry.name) for entry in index.models if entry.state == _READY}
    # A name of ours has no "-": with one it is a version that is not public yet, or a step.
    return tuple(sorted(name for name in ready if "-" not in name and {name + RAW_KIND, name + ENGINES_KIND} <= ready))


def not_served(url: str, model: str, spec: EnsembleSpec, index: Any) -> ClientError:
    """The error of a call for a model or an ensemble that the server does not have.

    Args:
        url: the address that was asked.
        model: the name that was asked for.
        spec: which of its ensembles.
        index: Triton's RepositoryIndexResponse.
    """
    names, wanted = served_names(index), spec.named(model).name
    if model in names:
        return ContractMismatch(
            f"{url}: got a model {model} without the ensemble {wanted}, expected one with it; its repository is of an "
            "earlier release: assemble it again with `maskline-serve assemble`, or ask for masks too"
        )
    known = next((entry for entry in index.models if entry.name == wanted), None)
    if known is not None:
        return ServerUnavailable(
            f"{url}: the model {model} is not loaded ({known.reason or 'no further text'}); try again later, or look "
            "at the server's log"
        )
    return ContractMismatch(
        f"{url}: got no model {model}, expected one of those that it serves: {', '.join(names) or 'none of ours'}; "
        "name it with --model NAME, in Python model=NAME"
    )
