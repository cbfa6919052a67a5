"""Files of other frameworks: every kind that their users have is read, and nothing in them runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from maskline_train.convert.reading.foreign_file import read_foreign
from safetensors.torch import save_file
from support.models import foreign
from torch import Tensor, nn


class Net(nn.Module):
    """A small network with all that a state dict can hold, and a buffer that it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 2)
        self.register_buffer("cache", torch.zeros(3), persistent=False)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return Net().state_dict()


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def arrays(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "kind", ["state dict", "old format", "whole module", "numpy pickle", "protocol 2", "safetensors"]
)
def test_each_kind_of_file_gives_the_state_dict(kind: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights")
    if kind == "state dict":
        torch.save(tensors, path)
    elif kind == "old format":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
    elif kind == "whole module":
        net = Net()
        net.load_state_dict(tensors)
        torch.save(net, path)
    elif kind == "safetensors":
        save_file(tensors, path)
    else:
        path.write_bytes(pickle.dumps(arrays(tensors), protocol=2 if kind == "protocol 2" else 4))
    found = read_foreign(path)
    assert same(found.tensors, tensors)
    assert (found.place, found.prefix, found.around) == ("", "", {})


def test_a_training_checkpoint_says_where_the_weights_are_and_what_is_beside(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    momenta = {index: {"momentum_buffer": tensor} for index, tensor in enumerate(tensors.values())}
    content = {"model": tensors, "optimizer": {"state": momenta}, "iteration": 7}
    torch.save(content, tmp_path / "last.pth")
    found = read_foreign(tmp_path / "last.pth")
    assert same(found.tensors, tensors)
    assert (found.place, list(found.around)) == ("model", ["optimizer", "iteration"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "_orig_mod.module.", "module.model."])
def test_what_wrappers_put_before_every_name_is_cut_off(
    prefix: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save({prefix + name: tensor for name, tensor in tensors.items()}, tmp_path / "w.pth")
    found = read_foreign(tmp_path / "w.pth")
    assert (found.prefix, same(found.tensors, tensors)) == (prefix, True)


def test_a_compiled_part_has_its_own_names_again(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({name.replace("body.", "body._orig_mod."): tensor for name, tensor in tensors.items()}, tmp_path / "w")
    assert same(read_foreign(tmp_path / "w").tensors, tensors)


def test_of_several_state_dicts_one_is_asked_for(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    average = {name: tensor + 1 for name, tensor in tensors.items()}
    torch.save({"model": tensors, "ema": {"weights": average}}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w.pth: holds 2 state dicts, 'model', 'ema.weights'; say by --weights"):
        read_foreign(tmp_path / "w.pth")
    assert same(read_foreign(tmp_path / "w.pth", "ema.weights").tensors, average)
    with pytest.raises(ValueError, match=r"got --weights other, expected one of 'model', 'ema.weights'"):
        read_foreign(tmp_path / "w.pth", "other")


def test_one_state_dict_in_two_places_counts_once(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": tensors, "state_dict": tensors}, tmp_path / "w.pth")
    assert read_foreign(tmp_path / "w.pth").place == "model"


def test_half_and_double_become_float32(tmp_path: Path) -> None:
    given = {f"a.{index}": torch.ones(2, dtype=dtype) for index, dtype in enumerate([torch.float16, torch.float64] * 4)}
    torch.save(given, tmp_path / "w.pth")
    assert {tensor.dtype for tensor in read_foreign(tmp_path / "w.pth").tensors.values()} == {torch.float32}


class Harmful:
    """What runs a command where a file is unpickled the ordinary way."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.witness}",)


class Subclass(dict[str, Any]):
    """A container of a class that nobody has."""


@pytest.mark.parametrize("place", ["beside", "inside", "as a dict"])
@pytest.mark.parametrize("kind", ["zip", "pickle"])
def test_a_hostile_file_runs_nothing(kind: str, place: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    harmful, path, witness = Harmful(tmp_path / "ran"), tmp_path / "w", tmp_path / "ran"
    values: dict[str, Any] = dict(tensors) if kind == "zip" else arrays(tensors)
    content = {
        "beside": {"model": values, "note": harmful},
        "inside": {"model": {**values, "x.y": harmful}},
        "as a dict": {"model": values, "note": Subclass(a=harmful)},
    }[place]
    if kind == "zip":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    assert same(read_foreign(path).tensors, tensors)
    assert not witness.exists()
    if place == "beside":  # the file is one that harms: the ordinary way runs it
        pickle.loads(pickle.dumps(harmful))
        assert witness.exists()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
@pytest.mark.parametrize("name", ["detectron2/mask_fpn_bgr", "detectron2/mask_c4"])
def test_a_file_that_was_cut_short_is_one_line(name: str, share: float, tmp_path: Path) -> None:
    whole = foreign.checkpoint(name).read_bytes()
    (tmp_path / "w").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=rf"^{tmp_path}/w: cannot be read \([^\n]*\); it is damaged or cut short"):
        read_foreign(tmp_path / "w")


def test_what_holds_no_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"w\.pth: no such file"):
        read_foreign(tmp_path / "w.pth")
    torch.save({"iteration": 3, "names": ["a"]}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_foreign(tmp_path / "w.pth")
    torch.jit.save(torch.jit.script(Net().body), tmp_path / "program.pt")
    with pytest.raises(ValueError, match="a TorchScript archive, which holds a program"):
        read_foreign(tmp_path / "program.pt")
    (tmp_path / "objects.pkl").write_bytes(pickle.dumps({f"a.{i}": np.array([None]) for i in range(9)}))
    with pytest.raises(ValueError, match="holds no state dict"):
        read_foreign(tmp_path / "objects.pkl")


def test_an_old_file_of_a_whole_module_or_of_a_foreign_object_is_read_too(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    net = Net()
    net.load_state_dict(tensors)
    for content in (net, {"model": tensors, "args": Path("of a training run")}):
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
        assert same(read_foreign(tmp_path / "w.pth").tensors, tensors)


def test_the_file_of_an_average_has_a_counter_beside_its_prefix(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(Net())
    torch.save(averaged.state_dict(), tmp_path / "w.pth")
    found = read_foreign(tmp_path / "w.pth")
    assert (found.prefix, same(found.tensors, averaged.module.state_dict())) == ("module.", True)


def test_safetensors_are_told_by_their_content(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "w.bin")
    torch.save(tensors, tmp_path / "w.safetensors")
    assert same(read_foreign(tmp_path / "w.bin").tensors, tensors)
    assert same(read_foreign(tmp_path / "w.safetensors").tensors, tensors)


@pytest.mark.parametrize("dtype", ["f2", "f8", "g", ">f4", "F"])  # longdouble; big-endian; in Fortran's order
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_of_every_float_and_order(dtype: str, protocol: int, tmp_path: Path) -> None:
    given = {f"a.{i}": np.arange(6).reshape(2, 3).astype("f4" if dtype == "F" else dtype) for i in range(8)}
    if dtype == "F":
        given = {name: np.asfortranarray(array) for name, array in given.items()}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(given, protocol=protocol))
    wanted = {name: torch.arange(6.0).reshape(2, 3) for name in given}
    assert same(read_foreign(tmp_path / "w.pkl").tensors, wanted)


def test_tensors_with_attributes_and_views_of_one_storage_are_read(tmp_path: Path) -> None:
    whole = torch.arange(24.0)
    given = {f"a.{i}": whole[3 * i : 3 * i + 3] for i in range(8)}
    marked = torch.nn.Parameter(torch.ones(2, 3).t())
    marked.origin = "marked"  # type: ignore[attr-defined]
    for old in (False, True):
        torch.save({**given, "marked": marked}, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
        assert same(read_foreign(tmp_path / "w.pth").tensors, {**given, "marked": marked.detach()})


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (torch.ones(2, dtype=torch.complex64), "got torch.complex64, expected floats"),
        (torch.eye(2).to_sparse(), "got a tensor of another kind .*sparse"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "got a tensor of another kind .*qtensor"),
        (torch.tensor([1.0, float("nan")]), "got a value that is not finite"),
        (torch.tensor([1.0, float("-inf")]), "got a value that is not finite"),
        (torch.tensor([1e300], dtype=torch.float64), "got a value that is not finite in float32"),
    ],
)
def test_a_tensor_that_is_no_weight_is_named(tensor: Tensor, text: str, tmp_path: Path) -> None:
    torch.save({**{f"a.{i}": torch.ones(2) for i in range(8)}, "b": tensor}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=rf"^{tmp_path}/w.pth: weight 'b': {text}[^\n]*$"):
        read_foreign(tmp_path / "w.pth")


def test_a_folder_and_a_choice_where_there_is_none(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=f"^{tmp_path}: a folder; expected weights"):
        read_foreign(tmp_path)
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="got --weights x, but the file is one state dict; leave --weights out"):
        read_foreign(tmp_path / "w.pth", "x")


def test_an_archive_s_directory_is_read_once_whatever_it_holds(
    tensors: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a line for each tensor: to read it for each tensor took most of an import's time."""
    opened: list[Path] = []

    class Counted(zipfile.ZipFile):
        def __init__(self, file: Path, *options: Any) -> None:
            opened.append(file)
            super().__init__(file, *options)

    torch.save(tensors, tmp_path / "weights")
    monkeypatch.setattr(zipfile, "ZipFile", Counted)
    assert same(read_foreign(tmp_path / "weights").tensors, tensors)
    assert opened == [tmp_path / "weights"]
