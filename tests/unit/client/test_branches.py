"""Models with and without masks and keypoints: what the client asks for, reads, refuses and says of each."""

import asyncio
import dataclasses
import json

import numpy as np
import pytest
from maskline_client import AsyncDetector, ContractMismatch, Detections, Detector, contract
from maskline_client.commands.health import check_server
from maskline_client.connection import Connection
from maskline_client.served_model import KeypointNames, check_ensemble
from tritonclient.grpc import service_pb2
from unit.client.triton_double import (
    BOXES_ALONE,
    KEYPOINTS,
    POINTS,
    SIZE,
    WITH_BOTH,
    WITH_KEYPOINTS,
    WITH_MASKS,
    Server,
    file_with,
    mask_of,
    points_of,
)

MODELS = {"boxes": BOXES_ALONE, "masks": WITH_MASKS, "keypoints": WITH_KEYPOINTS, "both": WITH_BOTH}


def detect(server: Server, count: int) -> Detections:
    with Detector(server.url) as detector:
        return detector.detect(file_with(count))


@pytest.mark.parametrize("count", [0, 2, 5])
@pytest.mark.parametrize("kind", MODELS)
def test_an_answer_has_what_the_model_has(server: Server, kind: str, count: int) -> None:
    server.script.outputs = MODELS[kind]
    found = detect(server, count)
    assert len(found) == count
    np.testing.assert_array_equal(found.boxes, [[2 * i, i, 2 * i + 7, i + 5] for i in range(count)] or np.zeros((0, 4)))
    if kind in ("masks", "both"):
        masks = [mask_of(i) for i in range(count)]
        np.testing.assert_array_equal(found.masks(), masks or np.zeros((0, *SIZE), bool))
    else:
        assert found.rle is None
    if kind in ("keypoints", "both"):
        assert found.keypoint_names == POINTS
        assert found.keypoints is not None
        assert (found.keypoints.shape, found.keypoints.dtype) == ((count, 3, 3), np.float32)
        for i in range(count):
            np.testing.assert_array_equal(found.keypoints[i], points_of(i))
    else:
        assert (found.keypoints, found.keypoint_names) == (None, ())


@pytest.mark.parametrize("kind", MODELS)
def test_the_asyncio_client_reads_the_same(server: Server, kind: str) -> None:
    server.script.outputs = MODELS[kind]

    async def call() -> Detections:
        async with AsyncDetector(server.url) as detector:
            with Detector(server.url) as other:
                assert await detector.model() == other.model
            return await detector.detect(file_with(3))

    ours, theirs = asyncio.run(call()), detect(server, 3)
    assert (ours.rle, ours.keypoint_names) == (theirs.rle, theirs.keypoint_names)
    np.testing.assert_array_equal(ours.keypoints, theirs.keypoints)


def test_the_model_tells_its_keypoints(server: Server) -> None:
    server.script.outputs = WITH_BOTH
    server.script.keypoints = json.dumps({**KEYPOINTS, "sigmas": [0.1, 0.2, 0.3]})
    with Detector(server.url) as detector:
        model = detector.model
    assert model.keypoints == KeypointNames(POINTS, (("left end", "right end"),), (0.1, 0.2, 0.3))
    assert (model.has_masks, model.max_detections) == (True, 5)


def test_what_a_parameter_says_of_keypoints_counts_where_they_are_answered_alone(server: Server) -> None:
    """A hand-made configuration may keep the empty parameter of the repository's files."""
    server.script.keypoints = "{}"
    with Detector(server.url) as detector:
        assert detector.model.keypoints is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got ''"),
        ("{}", "'names'"),
        ("[1]", "expected a JSON object with names, flip_pairs and sigmas"),
        ('{"names": ["a", "b"], "flip_pairs": [], "sigmas": []}', "got 2 names in the parameter keypoints, expected 3"),
        ('{"names": ["a", "b", "a"], "flip_pairs": [], "sigmas": []}', "expected one or more, each once"),
        ('{"names": ["a", "b", 3], "flip_pairs": [], "sigmas": []}', "got the name 3, expected a text"),
        ('{"names": ["a", "b", "c"], "flip_pairs": [["a", "z"]], "sigmas": []}', "expected pairs of the names"),
        ('{"names": ["a", "b", "c"], "flip_pairs": [["a", "b", "c"]], "sigmas": []}', "too many values"),
        ('{"names": ["a", "b", "c"], "flip_pairs": [], "sigmas": [0.1]}', "expected none, or 3 finite numbers above 0"),
        ('{"names": ["a", "b", "c"], "flip_pairs": [], "sigmas": [0.1, 0, 0.1]}', "expected none, or 3 finite numbers"),
    ],
    ids=["none", "empty", "list", "two", "twice", "number", "stranger", "triple", "few-sigmas", "zero-sigma"],
)
def test_keypoints_that_the_configuration_does_not_tell_are_refused(server: Server, text: str, said: str) -> None:
    server.script.outputs, server.script.keypoints = WITH_KEYPOINTS, text
    with pytest.raises(ContractMismatch, match=said.replace("(", r"\(")):
        detect(server, 1)
    assert server.script.calls == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": ("D", "J", 2)}, r"output keypoints: got FP32 \[-1, 5, 3, 2\], expected FP32 \[-1, 5, 3, 3\]"),
        ({"shape": (9, "J", 3)}, r"output keypoints: got FP32 \[-1, 9, 3, 3\], expected FP32 \[-1, 5, J, 3\]"),
        ({"dtype": "FP16"}, r"output keypoints: got FP16 \[-1, 5, 3, 3\], expected FP32 \[-1, 5, J, 3\]"),
        (
            {"name": "landmarks"},
            r"outputs: got boxes, .*landmarks.*perhaps mask_rle or keypoints; the server serves ano",
        ),
    ],
    ids=["two-numbers", "rows", "type", "name"],
)
def test_a_server_whose_keypoints_are_others_is_named(server: Server, change: dict[str, object], said: str) -> None:
    server.script.outputs = (*BOXES_ALONE, dataclasses.replace(contract.KEYPOINTS, **change))
    with pytest.raises(ContractMismatch, match=said):
        detect(server, 1)


def test_masks_of_an_older_release_are_named() -> None:
    """They were whole numbers of 255; `maskrcnn`, whose masks are texts, is the same in both."""
    metadata = service_pb2.ModelMetadataResponse(name="maskrcnn_raw")
    for group, tensors in (
        (metadata.inputs, contract.MASKRCNN_RAW.inputs),
        (metadata.outputs, contract.MASKRCNN_RAW.outputs),
    ):
        for tensor in tensors:
            sizes = {"D": 5, "M": 28, "J": 17}
            group.add(name=tensor.name, datatype=tensor.dtype, shape=[-1, *(sizes.get(s, s) for s in tensor.shape)])
    check_ensemble(metadata, contract.MASKRCNN_RAW)
    next(tensor for tensor in metadata.outputs if tensor.name == "masks").datatype = "UINT8"
    said = (
        r"maskrcnn_raw: output masks: got UINT8 \[-1, 5, 28, 28\], expected FP32 \[-1, 5, M, M\]; "
        "client and server are of different releases"
    )
    with pytest.raises(ContractMismatch, match=said):
        check_ensemble(metadata, contract.MASKRCNN_RAW)


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        (
            "keypoints",
            [1, 3, 5, 3],
            r"output keypoints: got shape \[1, 3, 5, 3\], expected \[1, 5, 3, 3\]",
        ),  # J, D mixed
        ("keypoints", [5, 3, 3], r"output keypoints: got shape \[5, 3, 3\], expected \[1, 5, 3, 3\]"),  # no batch
        ("boxes", [1, 4, 5], r"output boxes: got shape \[1, 4, 5\], expected \[1, 5, 4\]"),
        ("mask_rle", [5, 1], r"output mask_rle: got shape \[5, 1\], expected \[1, 5\]"),
    ],
    ids=["swapped", "no-batch", "boxes", "masks"],
)
def test_an_answer_of_another_shape_is_refused(server: Server, name: str, shape: list[int], said: str) -> None:
    server.script.outputs, server.script.shapes = WITH_BOTH, {name: shape}
    with pytest.raises(ContractMismatch, match=said):
        detect(server, 1)


@pytest.mark.parametrize("name", ["boxes", "mask_rle", "keypoints"])
def test_an_answer_without_an_output_that_was_offered_is_refused(server: Server, name: str) -> None:
    server.script.outputs, server.script.left_out = WITH_BOTH, name
    with pytest.raises(ContractMismatch, match=rf"output {name}: got nothing, expected \[1, 5"):
        detect(server, 1)


def test_a_model_that_lost_its_masks_is_read_again(server: Server) -> None:
    """The server was assembled anew and started again while the client kept its connection."""
    with Detector(server.url) as detector:
        assert detector.detect(file_with(1)).rle is not None
        server.script.outputs = BOXES_ALONE
        assert detector.detect(file_with(1)).rle is None
        assert not detector.model.has_masks


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("boxes", "3 classes, up to 5 detections an image: boxes"),
        ("masks", "3 classes, up to 5 detections an image: boxes, masks"),
        ("both", "3 classes, up to 5 detections an image: boxes, masks, 3 keypoints"),
    ],
)
def test_health_says_what_is_served(server: Server, kind: str, said: str) -> None:
    server.script.outputs = MODELS[kind]
    checks = health(server)
    assert checks["contract maskrcnn"] == f"{said}; artifact unknown"
    assert checks["contract maskrcnn_raw"].endswith(": boxes, masks; artifact unknown")


@pytest.mark.parametrize("tag", ["", "-1f0c6b3ad2e9"], ids=["as earlier releases name them", "tagged"])
def test_health_asks_for_the_steps_that_the_ensembles_run(server: Server, tag: str) -> None:
    server.script.steps = tuple(f"{word}{tag}" for word in ("preprocess", "backbone", "keypoint"))
    found = health(server)
    steps = [name for name in found if name.startswith("model ") and "maskrcnn" not in name]
    assert steps == ["model preprocess", "model backbone", "model keypoint"]
    server.script.steps = (f"mask{tag}",)  # the one that this server did not load
    assert f"the model mask{tag} is not loaded" in health(server)["model mask"]


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        (0.0, "5 objects in a test picture"),
        (0.3, "5 objects in a test picture"),  # 0.75 becomes 1.05: a score is any number
        (200.0, "got keypoints outside the image or scores that are no numbers"),
        (-0.1, "got keypoints outside the image or scores that are no numbers"),  # the first one's y is 0
        (float("nan"), "got keypoints outside the image or scores that are no numbers"),
    ],
)
def test_deep_health_looks_at_keypoints(server: Server, shift: float, said: str) -> None:
    server.script.outputs, server.script.size = WITH_KEYPOINTS, (96, 128)  # the size of its test picture
    server.script.points_shift = shift
    assert said in health(server, deep=True)["canary maskrcnn"]


def health(server: Server, *, deep: bool = False) -> dict[str, str]:
    """What `check_server` finds: the detail of each question."""
    return {check.name: check.detail for check in check_server(Connection(server.url, 30), deep=deep)}
