"""The checkpoint folder, `model.safetensors` and `model.json`, and reading files of weights."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from maskline_train.files import replacing
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec

WEIGHTS_FILE = "model.safetensors"
SPEC_FILE = "model.json"


def save_model(folder: Path, model: MaskRCNN, dtype: Literal["float32", "float16"] = "float32") -> None:
    """Write a model so that a reader sees the old one or the new one, never a part.

    Args:
        folder: the checkpoint folder; made if it does not exist.
        model: what to write; its device and mode do not matter.
        dtype: of the matrices and kernels. Vectors (biases, norm statistics) stay float32: they are a thousandth of
            the bytes, and a running variance can be too small for float16.

    Raises:
        ValueError: a weight is not finite, or too large for float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: _stored(name, tensor, dtype) for name, tensor in model.state_dict().items()}
    with replacing(folder / SPEC_FILE) as path:
        model.spec.save(path)
    with replacing(folder / WEIGHTS_FILE) as path:
        save_file(tensors, path, metadata={"format": "pt"})


def load_model(folder: Path) -> MaskRCNN:
    """Read what `save_model` wrote; float32, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: the folder lacks one of the two files.
        ValueError: a damaged file, or weights that do not fit model.json; the text names the first misfit.
    """
    for name in (SPEC_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder}: no {name}; expected a checkpoint folder that `maskline-train fit` or `import` wrote"
            )
    model = MaskRCNN(ModelSpec.load(folder / SPEC_FILE))
    weights = read_weights(folder / WEIGHTS_FILE)
    problem = first_misfit(model.state_dict(), weights)
    if problem is not None:
        raise ValueError(f"{folder / WEIGHTS_FILE}: {problem}; the file does not belong to the {SPEC_FILE} beside it")
    model.load_state_dict(weights)
    return model.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file that holds nothing but tensors; floats as float32.

    Raises:
        OSError: no such file, or no permission to read it.
        ValueError: a damaged file, or one that holds more than a dict of tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected weights as .safetensors or .pth")
    with path.open("rb"):  # a file that may not be read says so itself, and is not called damaged
        pass
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: cannot be read ({_one_line(error)}); it is damaged or holds no weights") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(
            f"{path}: got a {type(content).__name__}, expected a dict of tensors (a state dict); "
            "a training checkpoint of another framework comes over by `maskline-train import`"
        )
    return {name: value.float() if value.is_floating_point() else value for name, value in content.items()}


def _stored(name: str, tensor: Tensor, dtype: Literal["float32", "float16"]) -> Tensor:
    """One tensor as it is written: on the CPU, contiguous, checked."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"weight {name}: not finite; the training diverged, restart from an earlier checkpoint")
    if dtype == "float32" or tensor.dim() < 2:
        return tensor
    half = tensor.to(torch.float16)
    if not bool(torch.isfinite(half).all()):
        raise ValueError(
            f"weight {name}: got values up to {tensor.abs().max():.3g}, too large for float16; use float32"
        )
    return half


def first_misfit(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str | None:
    """Where `weights` differ from what a module expects: the first name missing, left over or of another shape."""
    missing = [name for name in own if name not in weights]
    unknown = [name for name in weights if name not in own]
    if missing:
        return f"{len(missing)} weights are missing, first {missing[0]!r}"
    if unknown:
        return f"{len(unknown)} weights are unknown, first {unknown[0]!r}"
    for name, tensor in own.items():
        if weights[name].shape != tensor.shape:
            return f"weight {name!r}: got shape {list(weights[name].shape)}, expected {list(tensor.shape)}"
    return None


def _one_line(error: BaseException) -> str:
    """The first line of an error's text, for a message of one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
