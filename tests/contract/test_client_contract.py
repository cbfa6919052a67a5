"""The client's contract equals the table in docs/architecture.md and the configurations that Triton reads."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from maskline_client import contract
from maskline_client.images import decode_rgb, encode
from PIL import Image
from support.data import image_files
from support.serving import model_files
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "triton_repo" / "models"
TYPES = {"TYPE_STRING": "BYTES"}  # Triton writes this one differently in configurations and on the wire
TENSOR = re.compile(r"`(?P<name>\w+)`(?: (?P<dtype>[A-Z0-9]+) \[(?P<shape>[\w,]+)\])?")


def config(name: str) -> model_config_pb2.ModelConfig:
    text = (MODELS / name / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def table_row(ensemble: str) -> tuple[str, str]:
    """The cells "inputs" and "outputs" of the ensemble in the page's wire contract."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Wire contract")[1]
    (row,) = re.findall(rf"^\| `{ensemble}` \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    return row


def documented(cell: str, known: dict[str, tuple[str, tuple[str, ...]]]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Type and shape of each tensor of a cell; one without them has those it has in `known`."""
    found = {}
    for match in TENSOR.finditer(cell):
        name, dtype, shape = match.group("name", "dtype", "shape")
        found[name] = (dtype, tuple(shape.split(","))) if dtype else known[name]
    return found


def of_client(specs: tuple[contract.TensorSpec, ...]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {spec.name: (spec.dtype, tuple(map(str, spec.shape))) for spec in specs}


def all_tensors() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every tensor that some cell of the table writes with its type."""
    cells = [cell for spec in contract.ENSEMBLES for cell in table_row(spec.name)]
    typed = [match for cell in cells for match in TENSOR.finditer(cell) if match["dtype"]]
    return {match["name"]: (match["dtype"], tuple(match["shape"].split(","))) for match in typed}


@pytest.mark.parametrize("spec", contract.ENSEMBLES, ids=lambda spec: spec.name)
def test_the_page_says_what_the_client_expects(spec: contract.EnsembleSpec) -> None:
    inputs, outputs = table_row(spec.name)
    assert documented(inputs, all_tensors()) == of_client(spec.inputs)
    listed = documented(outputs, all_tensors())
    if spec is contract.MASKRCNN_RAW:  # "as above with `masks` in place of `mask_rle`"
        above = documented(table_row("maskrcnn")[1], all_tensors())
        listed = {**{name: above[name] for name in above if name != "mask_rle"}, "masks": listed["masks"]}
    assert listed == of_client(spec.outputs)


@pytest.mark.parametrize("spec", contract.ENSEMBLES, ids=lambda spec: spec.name)
def test_the_configuration_offers_what_the_client_expects(spec: contract.EnsembleSpec) -> None:
    found = config(spec.name)
    assert found.platform == "ensemble"
    assert found.max_batch_size >= 1
    sizes = {"D": 100, "M": 28, "J": 17, "H": -1, "W": -1}  # what the files of the repository hold
    for tensors, specs in ((found.input, spec.inputs), (found.output, spec.outputs)):
        configured = {tensor.name: (data_type(tensor.data_type), tuple(tensor.dims)) for tensor in tensors}
        assert configured == {s.name: (s.dtype, tuple(sizes.get(side, side) for side in s.shape)) for s in specs}
    assert contract.LABELS_PARAMETER in found.parameters


def data_type(value: int) -> str:
    name = model_config_pb2.DataType.Name(value)
    return TYPES.get(name, name.removeprefix("TYPE_"))


def test_the_steps_are_the_models_that_the_ensembles_run() -> None:
    used = {step.model_name for spec in contract.ENSEMBLES for step in config(spec.name).ensemble_scheduling.step}
    assert used == set(contract.STEPS)
    assert {path.name for path in MODELS.iterdir()} == used | {spec.name for spec in contract.ENSEMBLES}


server_images = model_files.load("models/preprocess/1/images.py")
LIMITS = server_images.Limits(32 * 2**20, 50_000_000, 20_000)
FILES = image_files.good_files()


@pytest.mark.parametrize("name", FILES)
def test_pictures_are_drawn_on_what_the_server_saw(name: str) -> None:
    seen = np.asarray(server_images.load_rgb(FILES[name], LIMITS))
    np.testing.assert_array_equal(np.asarray(decode_rgb(FILES[name])), seen)


@pytest.mark.parametrize("name", FILES)
def test_a_file_opened_with_pillow_reaches_the_server_as_the_file_itself_does(name: str) -> None:
    sent = encode(Image.open(io.BytesIO(FILES[name])))
    expected = np.asarray(server_images.load_rgb(FILES[name], LIMITS))
    np.testing.assert_array_equal(np.asarray(server_images.load_rgb(sent, LIMITS)), expected)
