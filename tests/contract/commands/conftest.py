"""What the tests of the table in docs/commands.md share."""

from __future__ import annotations

import pytest
from support.commands.inputs import Inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """What the commands read."""
    return Inputs(tmp_path_factory.mktemp("inputs"))
