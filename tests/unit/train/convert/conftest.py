"""What the comparisons with torchvision share; each file has its networks as `theirs` and `ours`."""

import pytest


@pytest.fixture
def doubled(theirs, ours):
    """Both networks in float64; going there and back changes no float32 weight."""
    yield theirs.double(), ours.double()
    theirs.float()
    ours.float()
