"""Whether a server answers what the artifact's stages answer in ONNX Runtime."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from maskline_export.manifest import load_artifact
from maskline_export.verify.images import ladder_images
from maskline_export.verify.onnx_runtime import OnnxPipeline
from maskline_host import custom_ops_path
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from maskline_train.data.canvas import preprocess_batch
from maskline_train.evaluation.evaluate import boxes_at_original_size, keypoints_at_original_size
from maskline_train.evaluation.paste import encode_masks
from maskline_train.spec import ModelSpec, PasteRule
from PIL import Image
from serve.conftest import send
from tritonclient import grpc as triton


def check_served(artifact: Path, repository: Path) -> int:
    """Assemble and serve, and check the answers; returns the number of detections that were compared."""
    assemble(artifact, repository)
    with TritonServer(repository, drain_s=5) as server:
        return check_answers(artifact, server.grpc_url)


def check_answers(artifact: Path, url: str) -> int:
    """Send pictures of many sizes one by one, and a mixed pair to the ensemble that keeps masks.

    Args:
        artifact: what the server at `url` was assembled of.
        url: of its gRPC port.

    Returns:
        The number of detections that were compared.
    """
    chain, spec = OnnxPipeline(artifact, library=custom_ops_path()), load_artifact(artifact).spec
    pictures = [pixels for _, pixels in ladder_images(spec.preprocessing.shorter_side_px)]
    pair = [max(pictures, key=lambda pixels: pixels.shape[1]), max(pictures, key=lambda pixels: pixels.shape[0])]
    with triton.InferenceServerClient(url) as client:
        total = sum(check(client, "maskrcnn", [pixels], chain, spec) for pixels in pictures)
        return total + check(client, "maskrcnn_raw", pair, chain, spec)


def check(
    client: triton.InferenceServerClient,
    ensemble: str,
    pictures: list[np.ndarray],
    chain: OnnxPipeline,
    spec: ModelSpec,
) -> int:
    """One request: the same graphs in the same runtime on the same pixels, so the same bytes."""
    answer = send(client, [png(pixels) for pixels in pictures], ensemble)
    canvas, infos = preprocess_batch(pictures, spec.preprocessing)
    raw = chain.detect(canvas, infos)
    for slot, info in enumerate(infos):
        found = {name: array[slot] for name, array in answer.items()}
        expected = {
            field.name: getattr(raw, field.name)[slot]
            for field in dataclasses.fields(raw)
            if getattr(raw, field.name) is not None
        }
        compare(found, expected, info, spec.paste)
    return int(raw.num_detections.sum())


def compare(found: dict[str, Any], expected: dict[str, Any], info: np.ndarray, paste: PasteRule) -> None:
    """One image's answer with what the stages gave on the canvas."""
    count, size = int(expected["num_detections"][0]), (int(info[4]), int(info[5]))
    wanted = {
        **expected,
        "boxes": padded(boxes_at_original_size(expected["boxes"][:count], info), expected["boxes"]),
        "image_size": np.array(size),
    }
    if "keypoints" in expected:
        points = keypoints_at_original_size(expected["keypoints"][:count], info)
        wanted["keypoints"] = padded(points, expected["keypoints"])
    if "mask_rle" in found:
        masks = wanted.pop("masks")
        texts = [entry["counts"] for entry in encode_masks(masks[:count], wanted["boxes"][:count], size, paste)]
        wanted["mask_rle"] = np.array(texts + [b""] * (len(masks) - count), object)
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def padded(rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The rows, and zeros up to the length of `like`."""
    return np.concatenate([rows, np.zeros_like(like[len(rows) :])])


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
