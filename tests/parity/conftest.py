"""Artifacts that several files look at, exported once a run."""

from __future__ import annotations

import os

import pytest
from filelock import FileLock
from support.export.exported import Exported, export_tiny
from support.export.kept_traces import kept_traces


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Nobody changes them, and exporting is slow: the test processes of a run share one."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    with FileLock(root / "exported.lock"), kept_traces():
        return export_tiny(root / "exported")
