"""Whether a server answers what the artifact's stages answer in ONNX Runtime."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from maskline_export.manifest import load_artifact
from maskline_export.runtime import OnnxPipeline
from maskline_export.verify_images import ladder_images
from maskline_serve.assemble import assemble
from maskline_serve.server import TritonServer
from maskline_train.data.images import preprocess
from maskline_train.evaluate import boxes_at_original_size, keypoints_at_original_size
from maskline_train.model.paste import encode_masks
from maskline_train.spec import ModelSpec
from PIL import Image
from serve.conftest import send
from tritonclient import grpc as triton


def check_served(artifact: Path, repository: Path) -> int:
    """Assemble, serve, send pictures of many sizes one by one, compare; returns the number of detections."""
    assemble(artifact, repository)
    chain, total = OnnxPipeline(artifact), 0
    spec = load_artifact(artifact).spec
    with TritonServer(repository, drain_s=5) as server, triton.InferenceServerClient(server.grpc_url) as client:
        for _, pixels in ladder_images(spec.preprocessing.shorter_side_px):
            answer = {key: value[0] for key, value in send(client, [png(pixels)]).items()}
            total += compare(answer, chain, spec, pixels)
    return total


def compare(answer: dict[str, Any], chain: OnnxPipeline, spec: ModelSpec, pixels: np.ndarray) -> int:
    """One image: the same graphs in the same runtime on the same pixels, so the same bytes."""
    canvas, info = preprocess(pixels, spec.preprocessing)
    raw = chain.detect(canvas[None], info[None])
    count = int(raw.num_detections[0, 0])
    boxes = boxes_at_original_size(raw.boxes[0, :count], info)
    assert answer["num_detections"].tolist() == [count]
    np.testing.assert_array_equal(answer["boxes"][:count], boxes)
    np.testing.assert_array_equal(answer["scores"], raw.scores[0])
    np.testing.assert_array_equal(answer["labels"], raw.labels[0])
    assert ("mask_rle" in answer, "keypoints" in answer) == (raw.masks is not None, raw.keypoints is not None)
    if raw.masks is not None:
        texts = [entry["counts"] for entry in encode_masks(raw.masks[0, :count], boxes, pixels.shape[:2])]
        assert answer["mask_rle"].tolist() == texts + [b""] * (len(answer["scores"]) - count)
    if raw.keypoints is not None:
        expected = keypoints_at_original_size(raw.keypoints[0, :count], info)
        np.testing.assert_array_equal(answer["keypoints"][:count], expected)
        assert not answer["keypoints"][count:].any()
    return count


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
