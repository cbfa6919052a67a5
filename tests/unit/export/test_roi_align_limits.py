"""A model whose RoIAlign no plugin would take is refused at export, before anything is traced."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from maskline_export.custom_ops.multiscale_roi_align import MAX_POOLED_SIDE, MAX_SAMPLING_RATIO, MultiscaleRoIAlign
from maskline_export.errors import ContractError
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_train.spec import ModelSpec, RoIAlignSpec
from support.models.tiny import tiny_model, tiny_spec

HEADER = Path(__file__).parents[3] / "plugins" / "roi_align" / "attributes.h"


def test_the_limits_are_the_plugins() -> None:
    text = HEADER.read_text(encoding="utf-8")
    found = dict(re.findall(r"kROI_ALIGN_MAX_(POOLED_SIDE|SAMPLING_RATIO) = (\d+);", text))
    assert found == {"POOLED_SIDE": str(MAX_POOLED_SIDE), "SAMPLING_RATIO": str(MAX_SAMPLING_RATIO)}


def with_head(head: str, **changes: Any) -> ModelSpec:
    spec = tiny_spec()
    return dataclasses.replace(spec, **{head: dataclasses.replace(getattr(spec, head), **changes)})


REFUSED = [
    (with_head("box_head", pooled_side=65), "pooled_side 65, expected 1..64"),
    (with_head("mask_head", pooled_side=65), "pooled_side 65, expected 1..64"),
    (dataclasses.replace(tiny_spec(), roi_align=RoIAlignSpec(sampling_ratio=17)), "sampling_ratio 17, expected 0..16"),
]


@pytest.mark.parametrize(("spec", "text"), REFUSED, ids=["box head", "mask head", "sampling ratio"])
def test_more_is_refused_in_one_line_before_anything_is_traced(tmp_path: Path, spec: ModelSpec, text: str) -> None:
    said: list[str] = []
    with pytest.raises(ContractError, match=f"MultiscaleRoIAlign: got {text}, which its plugin takes") as caught:
        export_model(tiny_model(spec), "0" * 64, tmp_path / "artifact", report=said.append)
    assert "\n" not in str(caught.value)
    assert said == []
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize(("pooled_side", "sampling_ratio"), [(1, 0), (64, 16)])
def test_the_limits_themselves_are_fine(pooled_side: int, sampling_ratio: int) -> None:
    MultiscaleRoIAlign((4, 8), 224.0, 4, pooled_side, sampling_ratio, aligned=True)
