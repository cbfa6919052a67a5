"""What holds for every test."""

import gc
import os
import signal

import pytest
from margins import Margins
from support import sources  # noqa: F401 - it takes the sources' hash now, before anything of ours is imported

# A shell's background job ignores SIGINT, one under nohup SIGHUP, and so would every process that a test starts: tests
# of Ctrl-C and of a hang-up need them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # tests load ONNX Runtime before any package of ours


@pytest.fixture
def margins(request: pytest.FixtureRequest) -> Margins:
    """Measures against limits that have to hold on every machine."""
    return Margins(request.node.nodeid)


def pytest_collection() -> None:
    """What is imported and collected stays to the end: looking through it for garbage takes seconds of each worker."""
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that train first: they are the longest, and one that begins last would leave all workers but one idle."""
    training = {item.path for item in items if item.get_closest_marker("learns")}
    items.sort(key=lambda item: item.path not in training)  # stable: the others stay in the order of the folders


def pytest_collection_finish() -> None:
    """From here on only what tests make is looked through."""
    gc.freeze()
    gc.enable()
