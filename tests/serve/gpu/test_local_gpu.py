"""A repository for a GPU in the client's process: on the CPU it answers as the artifact does, one image at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from maskline_serve.errors import ModelNotLoadedError
from maskline_serve.local.local_models import LocalModels
from maskline_serve.repository.assemble import Target, assemble
from serve.same_answer import png


def test_it_answers_on_the_cpu_as_the_artifact_itself(dense: Path, tmp_path: Path) -> None:
    assemble(dense, tmp_path / "repository", Target.ONNXRUNTIME_GPU)
    picture = png(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    answers = []
    for folder in (dense, tmp_path / "repository"):
        models = LocalModels(folder)
        answers.append(models.infer(picture))
        models.close()
    for name, array in answers[0].items():
        np.testing.assert_array_equal(answers[1][name], array, err_msg=name)
    assert answers[0]["num_detections"].sum() > 0


def test_float16_answers_too(half: Path, tmp_path: Path) -> None:
    assemble(half, tmp_path / "repository", Target.ONNXRUNTIME_GPU)
    models = LocalModels(tmp_path / "repository")
    found = models.infer(png(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)))
    assert found["num_detections"].sum() > 0
    models.close()


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this ONNX Runtime has CUDA")
def test_a_gpu_that_is_not_there_is_refused(half: Path, tmp_path: Path) -> None:
    assemble(half, tmp_path / "repository", Target.ONNXRUNTIME_GPU)
    with pytest.raises(ModelNotLoadedError, match="expected CUDAExecutionProvider; install `maskline"):
        LocalModels(tmp_path / "repository", "cuda")
