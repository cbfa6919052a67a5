"""Norms behind the convolutions of pyramid and heads: none, or by groups."""

from __future__ import annotations

import typing
from typing import Literal

from maskline_train.spec.from_json import check

HeadNorm = Literal["none", "group"]
NUM_GROUPS = 32  # Ref: Wu and He 2018 (Group Normalization), section 4.1


def check_norm(field: str, norm: HeadNorm, groups: int, channels: int) -> None:
    """Raise ValueError unless `norm` is known and its groups, exactly `groups` here, share out the channels.

    Args:
        field: the spec's name of the norm; that of the number of groups is `norm_groups` beside it.
        norm: none, or by groups.
        groups: of a group norm.
        channels: of the convolutions before it.
    """
    norms = typing.get_args(HeadNorm)
    check(norm in norms, field, norm, f"one of {norms} (a batch norm is part of its convolution after an import)")
    name = f"{field.partition('.')[0]}.norm_groups"
    check(groups > 0, name, groups, "at least 1")
    good = norm == "none" or channels % groups == 0
    check(good, name, groups, f"a divisor of {channels}, the channels that {field} 'group' normalises")
