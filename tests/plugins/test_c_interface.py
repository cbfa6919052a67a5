"""The C interfaces of the four ops: one struct whose head is checked, and errors that begin with the op's name."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import device
import play_tensorrt
import pytest
from maskline_host import HostLibraryError, classwise_nms, library, mask_rle, proposal_nms, roi_align

OPS: dict[str, tuple[str, Callable[[], library.Config]]] = {
    "MultiscaleRoIAlign": ("multiscale_roi_align", roi_align.Config),
    "ProposalNMS": ("proposal_nms", proposal_nms.Config),
    "ClasswiseNMS": ("classwise_nms", classwise_nms.Config),
    "MaskRLE": ("mask_rle", mask_rle.Config),
}
NOTHING = [None] * 12  # more arguments than an op has: none of them is looked at before the config is


def refusal(where: str, op: str, config: ctypes.Structure) -> str:
    """What the op says of a config that it refuses."""
    found = library.load() if where == "host" else device.simt()
    status = getattr(found, f"maskline_{where}_{OPS[op][0]}")(ctypes.byref(config), *NOTHING)
    assert status == 1
    return str(found.maskline_last_error().decode())


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("op", OPS)
def test_a_struct_of_another_build_is_refused(op: str, where: str) -> None:
    for field in ("interface", "bytes"):
        config = OPS[op][1]()
        setattr(config, field, getattr(config, field) + 1)
        expected = f"expected {library.INTERFACE} and {ctypes.sizeof(config)}; the caller is of another build"
        text = refusal(where, op, config)
        assert text.startswith(f"{op}: config: got interface {config.interface} and {config.bytes} bytes, ")
        assert expected in text


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("op", OPS)
def test_an_error_begins_with_the_name_of_the_op(op: str, where: str) -> None:
    config = OPS[op][1]()  # all zeros behind a good head
    text = refusal(where, op, config)
    assert text.startswith(f"{op}: ")
    assert ": got 0" in text


@pytest.mark.parametrize("op", ["ProposalNMS", "ClasswiseNMS"])
def test_the_room_for_a_workspace_is_not_said_to_a_caller_of_another_build(op: str) -> None:
    config = OPS[op][1]()
    config.interface = 1
    size = ctypes.c_size_t(5)
    simt = device.simt()
    workspace = getattr(simt, f"maskline_device_{OPS[op][0]}_workspace")
    assert (workspace(ctypes.byref(config), ctypes.byref(size)), size.value) == (1, 0)
    assert simt.maskline_last_error().decode().startswith(f"{op}: config: got interface 1 and ")


def test_a_type_of_masks_that_a_device_does_not_take_is_named() -> None:
    host = refusal("host", "MaskRLE", mask_rle.config_of(1, 1, 28, 64, "float16"))
    assert host == "MaskRLE: type of the masks: got 1, expected 0 (float32) on the host"
    config = mask_rle.config_of(1, 1, 28, 64, "bfloat16")
    config.mask_type += 1
    assert refusal("device", "MaskRLE", config).startswith("MaskRLE: type of the masks: got 3, expected 0 (float32), 1")


def test_a_library_of_another_interface_is_not_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    older = device.built(play_tensorrt.TRT)  # as those of before the number, it has none
    with pytest.raises(HostLibraryError, match=f"got C interface none, expected {library.INTERFACE}; build it anew"):
        library.open_library(older)
    built = library.INTERFACE
    monkeypatch.setattr(library, "INTERFACE", built + 1)
    with pytest.raises(HostLibraryError, match=f"got C interface {built}, expected {built + 1}"):
        library.open_library(device.built(device.HOST))
    with pytest.raises(HostLibraryError, match="cannot be loaded"):
        library.open_library(tmp_path / "none.so")
