"""Which ResNet or ResNeXt a body is, by the shapes of its weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

_FULL_WIDTH = 64  # base channels that `width_per_group` is stated for
# Blocks of the four stages, and whether these are bottlenecks. Ref: He et al. 2016, table 1.
_DEPTHS: dict[tuple[int, ...], dict[bool, int]] = {
    (2, 2, 2, 2): {False: 18},
    (3, 4, 6, 3): {False: 34, True: 50},
    (3, 4, 23, 3): {True: 101},
    (3, 8, 36, 3): {True: 152},
}
Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Body:
    """A body.

    Attributes:
        depth: its layers.
        stem: channels of its first convolution, 64 in the published networks.
        groups: of its 3 x 3 convolutions.
        width: channels of those of its first stage.
    """

    depth: int
    stem: int
    groups: int
    width: int

    @property
    def width_per_group(self) -> int:
        """As `BackboneSpec` has it."""
        return self.width * _FULL_WIDTH // (self.stem * self.groups)

    def __str__(self) -> str:
        """E.g. ResNet-50, ResNeXt-101 32x8d."""
        if self.groups == 1:
            return f"ResNet-{self.depth}"
        return f"ResNeXt-{self.depth} {self.groups}x{self.width // self.groups}d"


def read_body(shapes: Shapes, stem: str, stages: Sequence[str]) -> Body:
    """A body by the names of its parts: the first convolution's weight and what the blocks of each stage begin with.

    Raises:
        ValueError: a part is missing, or the body is none that is known.
    """
    blocks = tuple(
        sum(re.fullmatch(rf"{re.escape(stage)}\d+\.conv1\.weight", name) is not None for name in shapes)
        for stage in stages
    )
    depth = _DEPTHS.get(blocks, {}).get(f"{stages[0]}0.conv3.weight" in shapes)
    if depth is None:
        raise ValueError(f"body: got stages of {blocks} blocks, expected a ResNet or ResNeXt of 18 to 152 layers")
    first = shape_of(shapes, f"{stages[0]}0.conv2.weight")
    return Body(depth, shape_of(shapes, stem)[0], first[0] // first[1], first[0])


def shape_of(shapes: Shapes, name: str) -> tuple[int, ...]:
    """A weight's shape.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in shapes:
        raise ValueError(f"weight {name!r} is missing; the file is cut short or of another network")
    return shapes[name]
