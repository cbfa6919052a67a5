"""Which ResNet or ResNeXt a body is, by the shapes of its weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from maskline_train.model.backbone.resnet import BLOCKS_PER_STAGE
from maskline_train.spec.backbone import BASIC_DEPTHS

_FULL_WIDTH = 64  # base channels that `width_per_group` is stated for
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
    basic = f"{stages[0]}0.conv3.weight" not in shapes
    depth = next((n for n, each in BLOCKS_PER_STAGE.items() if each == blocks and (n in BASIC_DEPTHS) == basic), None)
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
