"""Artifacts that several files look at, exported once a session."""

from __future__ import annotations

import pytest
from exported import Exported, export_tiny


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_tiny(tmp_path_factory.mktemp("exported"))
