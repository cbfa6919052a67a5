"""Which ResNet or ResNeXt a body is, by the shapes of its weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from maskline_train.model.backbone.resnet import BLOCKS_PER_STAGE
from maskline_train.spec.backbone import BASIC_DEPTHS

_FULL_WIDTH = 64  # base channels that `width_per_group` is stated for
_KERNEL = 4  # dimensions of a convolution's weight
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
    def basic(self) -> bool:
        """Whether it is of basic blocks, not bottlenecks."""
        return self.depth in BASIC_DEPTHS

    @property
    def width_per_group(self) -> int:
        """As `BackboneSpec` has it."""
        return self.width * _FULL_WIDTH // (self.stem * self.groups)


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
    width, inputs, *_ = shape_of(shapes, f"{stages[0]}0.conv2.weight", _KERNEL)
    body = Body(depth, shape_of(shapes, stem, _KERNEL)[0], width // inputs, width)
    if width % inputs or body.width_per_group * body.stem * body.groups != width * _FULL_WIDTH:
        raise ValueError(
            f"weight {stages[0]}0.conv2.weight: got {width} channels of {inputs} inputs each behind a stem of "
            f"{body.stem}, expected those of a ResNet or ResNeXt"
        )
    return body


def shape_of(shapes: Shapes, name: str, dims: int = 1) -> tuple[int, ...]:
    """A weight's shape.

    Args:
        shapes: of all weights.
        name: of the weight.
        dims: that it has; 1: or more.

    Raises:
        ValueError: there is none of that name, or it is of another kind, or empty.
    """
    if name not in shapes:
        raise ValueError(f"weight {name!r} is missing; the file is cut short or of another network")
    shape = shapes[name]
    if 0 in shape or len(shape) < dims or len(shape) != dims > 1:
        raise ValueError(f"weight {name!r}: got shape {list(shape)}, expected {dims} dimension(s), none of them empty")
    return shape
