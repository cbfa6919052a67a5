"""The emulator that runs the kernels on a CPU: it answers as a GPU does, and refuses what a GPU would hang on."""

from __future__ import annotations

import ctypes

import device
import numpy as np
import pytest

SUCCESS, INVALID_CONFIGURATION, LAUNCH_FAILURE = 0, 9, 719  # cudaError_t


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.mark.parametrize("seed", device.SIMT_SEEDS)
def test_shuffles_and_barriers_answer_as_on_a_gpu(seed: int) -> None:
    sums = np.zeros(5, np.int32)
    assert device.simt(seed).maskline_simt_test_sum(5, 256, _address(sums)) == SUCCESS
    np.testing.assert_array_equal(sums, 256 * 255 // 2)


def test_a_forgotten_barrier_gives_a_wrong_answer() -> None:
    numbers = np.zeros(1024, np.int32)
    simt = device.simt()
    assert simt.maskline_simt_test_reverse(1024, _address(numbers), 0) == SUCCESS
    np.testing.assert_array_equal(numbers, np.arange(1024)[::-1])
    assert simt.maskline_simt_test_reverse(1024, _address(numbers), 1) == SUCCESS
    assert (numbers != np.arange(1024)[::-1]).any()


def test_threads_that_wait_for_each_other_for_ever_are_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert device.simt().maskline_simt_test_divergence() == LAUNCH_FAILURE
    assert "16 at __syncthreads, 16 at a warp collective" in capfd.readouterr().err


def test_a_block_that_no_gpu_takes_is_refused() -> None:
    sums = np.zeros(1, np.int32)
    assert device.simt().maskline_simt_test_sum(1, 2048, _address(sums)) == INVALID_CONFIGURATION
