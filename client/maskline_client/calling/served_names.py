"""Which models a server has loaded, and what to tell who asked for another one.

A server of ours does not open its repository index; the statistics, which it opens, name what is loaded.
"""

from __future__ import annotations

from typing import Any

from tritonclient.utils import InferenceServerException

from maskline_client.contract import ENGINES_KIND, RAW_KIND, EnsembleSpec
from maskline_client.errors import ContractMismatch

_UNKNOWN = "unknown model"  # what Triton says of a name that it does not have
_NOT_LOADED = "has no available versions"  # and behind it, of one that it has


def says_unknown(failure: InferenceServerException) -> bool:
    """Whether a call failed because the server has no model of that name, loaded or not."""
    text = str(failure.message())
    return _UNKNOWN in text.lower() and _NOT_LOADED not in text


def served_names(statistics: Any) -> tuple[str, ...]:
    """Names of the models that are loaded, in alphabetical order: those by which clients ask, no steps.

    Args:
        statistics: Triton's ModelStatisticsResponse of all models.
    """
    loaded = {str(entry.name) for entry in statistics.model_stats}
    # A name of ours has no "-": with one it is a version that is not public yet, or a step.
    return tuple(
        sorted(name for name in loaded if "-" not in name and {name + RAW_KIND, name + ENGINES_KIND} <= loaded)
    )


def not_served(url: str, model: str, spec: EnsembleSpec, statistics: Any) -> ContractMismatch:
    """The error of a call for a model or an ensemble that the server does not have.

    Args:
        url: the address that was asked.
        model: the name that was asked for.
        spec: which of its ensembles.
        statistics: Triton's ModelStatisticsResponse of all models.
    """
    names = served_names(statistics)
    if model in names:
        return ContractMismatch(
            f"{url}: got a model {model} without the ensemble {spec.named(model).name}, expected one with it; its "
            "repository is of an earlier release: assemble it again, or ask for masks too"
        )
    return ContractMismatch(
        f"{url}: got no model {model}, expected one of those that it serves: {', '.join(names) or 'none of ours'}; "
        "name it with --model NAME, in Python model=NAME"
    )
