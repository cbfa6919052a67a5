"""What a config may not say: another network than the weights, or what is not supported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_BESIDE = "give the config that was written beside these weights"


def contradiction(name: str, said: object, of_weights: str, right_one: str = _BESIDE) -> ValueError:
    """A setting of another network than the weights are of."""
    return ValueError(
        f"config: {name} is {said!r}, the weights have {of_weights}; they belong to two networks: {right_one}"
    )


def unsupported(name: str, said: object, supported: Iterable[object]) -> ValueError:
    """A setting that changes answers, with another value than those that are supported."""
    return ValueError(f"config: {name} is {said!r}, supported: {', '.join(map(repr, supported))}")


def check_agreement(
    config: Mapping[str, Any], of_weights: Iterable[tuple[str, object]], right_one: str = _BESIDE
) -> None:
    """Raise ValueError where the config has another value than the weights of a setting."""
    for name, value in of_weights:
        if name in config and config[name] != value:
            raise contradiction(name, config[name], repr(value), right_one)


def check_support(config: Mapping[str, Any], supported: Iterable[tuple[str, tuple[object, ...]]]) -> None:
    """Raise ValueError where the config has none of the values that are supported of a setting."""
    for name, values in supported:
        if name in config and config[name] not in values:
            raise unsupported(name, config[name], values)
