"""An exported artifact in ONNX Runtime with libmaskline_ort.so: what its bodies find, the library finds."""

from __future__ import annotations

import device
import numpy as np
import onnxruntime as ort
import ort_runner
import pytest
from maskline_export.verify.onnx_runtime import OnnxPipeline
from parity.test_variants import pictures
from support.export.exported import Exported


@pytest.mark.parametrize("where", ["ort-cpu", device.ORT_SIMT_ROW])
@pytest.mark.parametrize("bodies", ["ort", "dense"])
def test_the_stages_find_with_the_library_what_their_bodies_find(exported: Exported, bodies: str, where: str) -> None:
    folder = getattr(exported, bodies)
    canvas, info = pictures(2, 96, 128)
    body = OnnxPipeline(folder, threads=1).stages
    tensors = {"canvas": canvas, "image_info": info}
    compared = 0
    for stage, model in body.items():
        session: ort.InferenceSession = ort_runner.make_session((folder / f"{stage}.onnx").read_bytes(), where)
        wanted = model.run(tensors)
        names = [value.name for value in session.get_outputs()]
        feeds = {value.name: tensors[value.name] for value in session.get_inputs()}
        for name, found in zip(names, session.run(names, feeds), strict=True):
            assert found.dtype == wanted[name].dtype
            # boxes of up to 128 px, scores and masks are float32 sums in another order
            np.testing.assert_allclose(found.astype(np.float64), wanted[name], rtol=1e-5, atol=2e-4, err_msg=name)
            compared += found.size
        tensors |= wanted
    assert int(tensors["num_detections"].sum()) > 0
    assert compared > 10_000
