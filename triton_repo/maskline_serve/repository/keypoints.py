"""What an artifact's spec says of its keypoints, checked: the client asks for the same of the served parameter.

Letters: J keypoints.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Keypoints:
    """The J keypoints of a model.

    Attributes:
        names: each once, in the order of the output's rows.
        flip_pairs: names of what a mirror swaps.
        sigmas: OKS constants in units of sqrt(area), one a keypoint, or none.
    """

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[str, str], ...]
    sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        flipped = {name for pair in self.flip_pairs for name in pair}
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"got the keypoints {list(self.names)}, expected one name or more, each once")
        if not flipped <= set(self.names):
            raise ValueError(f"got flip_pairs with {sorted(flipped - set(self.names))[0]!r}, expected keypoints' names")
        good = all(math.isfinite(sigma) and sigma > 0 for sigma in self.sigmas)
        if len(self.sigmas) not in (0, len(self.names)) or not good:
            expected = f"none, or {len(self.names)} numbers above 0"
            raise ValueError(f"got the keypoints' sigmas {list(self.sigmas)}, expected {expected}")


def read(head: dict[str, Any]) -> Keypoints:
    """The keypoints of a spec's `keypoint_head`.

    Raises:
        KeyError, TypeError, ValueError: something is missing, of another type, or does not fit.
    """
    return Keypoints(
        names=tuple(_text(name) for name in head["names"]),
        flip_pairs=tuple((_text(left), _text(right)) for left, right in head["flip_pairs"]),
        sigmas=tuple(float(sigma) for sigma in head["sigmas"]),
    )


def _text(value: Any) -> str:
    """A name that UTF-8 can write, as config.pbtxt and the wire need it."""
    if not isinstance(value, str):
        raise TypeError(f"got the keypoint {value!r}, expected a name")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"got the keypoint {value!r}, expected a name in valid Unicode") from None
    return value
