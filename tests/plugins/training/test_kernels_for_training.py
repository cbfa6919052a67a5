"""Where training finds the library of kernels, and what it says where there is none or where it refuses."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import device
import pytest
import torch
from maskline_host import HostLibraryError, library, proposal_nms
from maskline_train.model.ops import kernels


def test_the_kernels_are_beside_the_host_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.VARIABLE, str(device.built(device.HOST)))
    assert library.cuda_path() == device.built(device.CUDA)


def test_without_kernels_pytorchs_operators_run_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The kernels are looked for when the first tensor is on a GPU, which `torch.device` alone can stand for."""
    alone = shutil.copy(device.built(device.HOST), tmp_path)
    monkeypatch.setenv(library.VARIABLE, str(alone))
    kernels._installed.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"libmaskline_cuda\.so: not found .* build it by `make plugins`") as said:
            assert [kernels.kernels_for(torch.device("cuda", 0)) for _ in range(2)] == [None, None]
        assert len(said) == 1
    finally:
        kernels._installed.cache_clear()


def test_on_a_cpu_nothing_is_looked_for() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernels.kernels_for(torch.device("cpu")) is None


def test_what_the_library_refuses_is_an_exception_with_its_text() -> None:
    device.simt()
    found = kernels.Kernels(device.built(device.SIMT))
    config = proposal_nms.Config()  # no level
    with pytest.raises(HostLibraryError, match="ProposalNMS: strides: got 0 levels"):
        found.workspace("proposal_nms", config, torch.device("cpu"))
    with pytest.raises(HostLibraryError, match="ProposalNMS: strides: got 0 levels"):
        found.call("proposal_nms", config, [None] * 6, torch.device("cpu"))


def test_an_address_that_a_vector_cannot_be_read_from_is_copied() -> None:
    shifted = torch.arange(9.0)[1:].reshape(2, 4)
    assert shifted.data_ptr() % 16 == 4
    copied = kernels.in_layout(shifted)
    assert copied.data_ptr() % 16 == 0
    assert torch.equal(copied, shifted)
    assert kernels.in_layout(copied).data_ptr() == copied.data_ptr()
