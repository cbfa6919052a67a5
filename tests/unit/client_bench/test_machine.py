"""What the processes of a server are called in a benchmark's tables."""

import pytest
from maskline_client.bench.machine import _process_name


@pytest.mark.parametrize(
    ("folder", "instance", "said"),
    [
        ("preprocess", "preprocess_0_1", "stub preprocess_0_1"),  # of an earlier release
        ("preprocess-1f0c6b3ad2e9", "preprocess-1f0c6b3ad2e9_0_1", "stub preprocess_0_1"),
        ("postprocess_raw-1f0c6b3ad2e9", "", "stub postprocess_raw"),  # no instance among its arguments
    ],
)
def test_a_stub_is_called_by_the_word_of_its_step(folder, instance, said):
    command = ["/opt/backends/triton_python_backend_stub", f"/models/{folder}/1/model.py", "1", instance]
    assert _process_name(command) == said
