"""Tensors that are handed on where they lie: DLPack both ways, checked by PyTorch, and CUDA's runtime."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from support.serving import model_files
from torch.utils import dlpack

memory = model_files.load("backends/onnxruntime/device_memory.py")
tensors = model_files.load("backends/onnxruntime/device_tensors.py")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float16, np.float32])
def test_rows_are_handed_over_without_a_copy_and_kept_until_they_are_let_go(dtype: type) -> None:
    array = np.arange(24).astype(dtype).reshape(4, 2, 3)
    alive = weakref.ref(array)
    theirs = dlpack.from_dlpack(tensors.to_dlpack(tensors.of_array(array).rows(1, 3)))
    np.testing.assert_array_equal(theirs.numpy(), array[1:3])
    assert np.shares_memory(theirs.numpy(), array)
    del array
    gc.collect()
    assert alive() is not None
    del theirs
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float16, torch.float32])
def test_a_tensor_of_others_is_read_where_it_lies(dtype: torch.dtype) -> None:
    theirs = torch.arange(24).reshape(4, 6).to(dtype)[1:]  # begins behind its memory's start
    found = tensors.from_dlpack(dlpack.to_dlpack(theirs))
    assert (found.address, found.shape, found.card) == (theirs.data_ptr(), (3, 6), tensors.HOST)
    np.testing.assert_array_equal(tensors.array_of(found), theirs.numpy())
    assert tensors.array_of(found).dtype == theirs.numpy().dtype


@pytest.mark.parametrize(
    ("tensor", "text"),
    [(torch.zeros(4, 6)[:, :3], "expected no gaps"), (torch.zeros(2, dtype=torch.bfloat16), "values of kind 4")],
)
def test_what_cannot_be_handed_on_is_refused(tensor: torch.Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tensors.from_dlpack(dlpack.to_dlpack(tensor))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_card_the_runtimes_own_words_are_told() -> None:
    with pytest.raises(ValueError, match=r"^cudaSetDevice: got status \d+, .*; `nvidia-smi` says what is on the card$"):
        memory.CudaMemory(0)  # the runtime is the one that PyTorch has loaded


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_copies_from_the_host_and_from_card_to_card() -> None:
    place = memory.CudaMemory(0)
    array = np.arange(12, dtype=np.float16).reshape(4, 3)
    given, other, back = tensors.of_array(array), place.allocate(array.nbytes), np.zeros_like(array)
    first = place.allocate(array.nbytes)
    place.put(first, 6, given.rows(0, 3))
    place.wait()
    on_card = tensors.Tensor(first.address, array.shape, array.dtype, 0, first)
    place.put(other, 0, on_card)
    place._cuda.copy(back.ctypes.data, other.address, array.nbytes)
    place.wait()
    np.testing.assert_array_equal(back, np.concatenate([np.zeros((1, 3)), array[:3]]))
    theirs = dlpack.from_dlpack(tensors.to_dlpack(on_card.rows(1, 3)))
    np.testing.assert_array_equal(theirs.cpu().numpy(), array[:2])
