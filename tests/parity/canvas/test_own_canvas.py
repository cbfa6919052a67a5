"""Images on canvases of their own size: the same answers from PyTorch, ONNX Runtime and the real server."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from maskline_client import Detections, Detector
from maskline_export.manifest import load_artifact
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.precision.int8_cpu.artifact import quantise_artifact
from maskline_export.precision.to_typed import type_artifact
from maskline_export.verify.onnx_runtime import OnnxPipeline
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from maskline_train.checkpoint import save_model
from maskline_train.data.canvas import preprocess_batch
from maskline_train.evaluation.evaluate import boxes_at_original_size
from maskline_train.spec import ModelSpec, PreprocessingSpec, RoIAlignSpec
from parity.test_variants import Case, compare_image, settled, verified
from PIL import Image
from serve.same_answer import check_answers
from support.export.kept_traces import kept_traces
from support.models.small_recipes import few_blocks
from support.models.tiny import tiny_model, tiny_spec
from support.models.variants import VARIANTS

# Portrait, landscape, square, a strip, one that is enlarged, one that is shrunk, and two of one canvas.
SIZES = ((120, 90), (90, 120), (100, 100), (12, 240), (31, 40), (300, 411), (97, 61), (97, 61))
ALIGNED = RoIAlignSpec()


def with_multiple(spec: ModelSpec, multiple: int, shorter_side_px: int = 96) -> ModelSpec:
    preprocessing = PreprocessingSpec(shorter_side_px, 160, (), canvas_multiple=multiple)
    return dataclasses.replace(spec, preprocessing=preprocessing, roi_align=ALIGNED)


SPECS = {
    "c4 without padding": (with_multiple(VARIANTS["c4_warp_softmax"], 1), "ort"),
    "pyramid on multiples of 32": (with_multiple(tiny_spec(), 32), "ort"),
    "pyramid on one multiple": (with_multiple(tiny_spec(), 192), "dense"),  # which all images are smaller than
    "c5 without padding": (with_multiple(VARIANTS["c5_max_mlp_agnostic"], 1), "dense"),
    "dilated c5 without padding": (with_multiple(VARIANTS["dilated_c5"], 1), "ort"),
}
LONG = ("pyramid on one multiple", "c5 without padding", "dilated c5 without padding")


def picture(size: tuple[int, int]) -> np.ndarray:
    """Seeded blobs of some pixels, [H, W, 3] uint8."""
    rng = np.random.default_rng(size)
    coarse = rng.integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]])


@pytest.fixture(scope="module", autouse=True)
def _fewer_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        few_blocks(patch)
        yield


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in SPECS]
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    spec, bodies = SPECS[request.param]
    model = settled(tiny_model(spec))
    folder = tmp_path_factory.mktemp("own")
    save_model(folder / "checkpoint", model)
    with kept_traces():
        export_checkpoint(folder / "checkpoint", folder / "artifact", bodies)
    return Case(model, folder / "checkpoint", folder / "artifact")


@pytest.fixture(scope="module")
def url(case: Case) -> Iterator[str]:
    """The address of a server of the case's artifact."""
    repository = case.artifact.parent / "repository"
    assemble(case.artifact, repository)
    with TritonServer(repository, drain_s=5) as server:
        yield server.grpc_url


def test_onnx_finds_on_every_canvas_what_torch_finds(case: Case) -> None:
    chain, spec = OnnxPipeline(case.artifact, threads=1), case.model.spec.preprocessing
    total = 0
    for size in SIZES:
        canvas, info = preprocess_batch([picture(size)], spec)
        ours = case.model.detect(torch.from_numpy(canvas), torch.from_numpy(info))
        total += compare_image(ours, chain.detect(canvas, info), 0, quantised=False)
    canvas, info = preprocess_batch([picture(size) for size in SIZES], spec)  # several images of different sizes
    ours, theirs = case.model.detect(torch.from_numpy(canvas), torch.from_numpy(info)), chain.detect(canvas, info)
    total += sum(compare_image(ours, theirs, image, quantised=False) for image in range(len(SIZES)))
    assert total > 20 * len(SIZES)  # or little was compared


def test_the_canvases_are_those_of_the_images(case: Case) -> None:
    """What this file is about: sides that only the model's own multiple divides."""
    spec = case.model.spec.preprocessing
    canvases = [preprocess_batch([picture(size)], spec)[0].shape[1:3] for size in SIZES]
    assert all(side % spec.side_multiple == 0 for canvas in canvases for side in canvas)
    if spec.side_multiple == 1:
        assert {side % 2 for canvas in canvases for side in canvas} == {0, 1}
        assert (8, 160) in canvases  # less than a cell high
    assert load_artifact(case.artifact).spec == case.model.spec
    inputs = onnx.load(case.artifact / "backbone.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in inputs[:3]] == ["B", "H", "W"]


def test_verify_agrees(case: Case, tmp_path: Path) -> None:
    status, report = verified(case.checkpoint, case.artifact, tmp_path)
    assert status == 0
    assert report["detections"] > 50  # or nothing was compared


@pytest.mark.long
def test_low_precisions_are_written_and_run_on_such_canvases(case: Case, tmp_path: Path) -> None:
    """Each passes the checks of a written artifact, which run all stages on canvases of the model's own multiple."""
    (tmp_path / "photos").mkdir()
    for i, size in enumerate(SIZES):
        (tmp_path / "photos" / f"{i}.png").write_bytes(encoded(picture(size)))
    if load_artifact(case.artifact).bodies == "dense":
        written = type_artifact(case.artifact, tmp_path / "low", "int8", tmp_path / "photos")
    else:
        written, _ = quantise_artifact(case.artifact, tmp_path / "low", tmp_path / "photos", allow_slower=True)
    assert written.precision in ("int8", "int8-cpu")
    canvas, info = preprocess_batch([picture((97, 61))], case.model.spec.preprocessing)
    assert OnnxPipeline(tmp_path / "low", threads=1).detect(canvas, info).num_detections[0, 0] > 3


@pytest.mark.triton
def test_the_server_answers_what_the_stages_answer(case: Case, url: str) -> None:
    """Pictures of many sizes one by one, and a portrait with a landscape in one request."""
    assert check_answers(case.artifact, url) > 50  # or nothing was compared


@pytest.mark.triton
def test_requests_do_not_change_each_others_canvas(case: Case, url: str) -> None:
    """All at once, they answer as alone: the boxes of PyTorch on the image's own canvas."""
    files = [encoded(picture(size)) for size in SIZES]
    with Detector(url) as detector:
        alone = [detector.detect(file) for file in files]
        with ThreadPoolExecutor(len(files)) as threads:
            for _ in range(3):
                for one, other in zip(alone, threads.map(detector.detect, files), strict=True):
                    assert_near(one, other.boxes)
    for size, one in zip(SIZES, alone, strict=True):
        canvas, info = preprocess_batch([picture(size)], case.model.spec.preprocessing)
        found = case.model.detect(torch.from_numpy(canvas), torch.from_numpy(info))
        assert len(one) > 3
        assert_near(one, boxes_at_original_size(found.boxes[0, : found.num_detections[0]].numpy(), info[0]))


def assert_near(found: Detections, expected: np.ndarray) -> None:
    """Each box has its counterpart; two of a hundred may lie on a threshold, and order says little."""
    apart = np.abs(found.boxes[:, None] - expected[None]).max(axis=2).min(axis=1)
    assert (apart < 0.01).mean() >= 0.95  # px of the picture: 2e-3 of the canvas, and one is 2.6 times as large
    assert abs(len(found) - len(expected)) <= 2


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
