"""The cheapest kinds of the fault campaign (`make faults`), which makes all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.run import KINDS
from faults.scene import Scene

pytestmark = pytest.mark.triton
CHEAP = (
    "network-flipped",
    "few-open-files",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("tmpdir-missing", "log-reader-stops")),
)


@pytest.mark.parametrize("name", CHEAP)
def test_a_kind_of_fault_ends_as_expected(name: str, artifact: Path, repository: Path, tmp_path: Path) -> None:
    (kind,) = (kind for kind in KINDS if kind.name == name)
    assert artifact.parent == repository.parent  # where a scene looks for both
    assert kind.check(Scene(tmp_path, repository.parent))
