"""The checkpoint folder: `model.safetensors` and `model.json`, and starting from weights that came from elsewhere."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import BackboneSpec, ModelSpec

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
    with _replacing(folder / SPEC_FILE) as path:
        model.spec.save(path)
    with _replacing(folder / WEIGHTS_FILE) as path:
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
                f"{folder}: no {name}; expected a checkpoint folder that `maskline-train fit` wrote"
            )
    model = MaskRCNN(ModelSpec.load(folder / SPEC_FILE))
    weights = read_weights(folder / WEIGHTS_FILE)
    problem = _first_misfit(model.state_dict(), weights)
    if problem is not None:
        raise ValueError(f"{folder / WEIGHTS_FILE}: {problem}; the file does not belong to the {SPEC_FILE} beside it")
    model.load_state_dict(weights)
    return model.eval()


class PartialLoad(NamedTuple):
    """What `load_matching_weights` did, by parameter name.

    Attributes:
        loaded: taken over.
        missing: of the model, not in the weights: left as initialised.
        reshaped: in both, of another shape (another number of classes): left as initialised.
        unused: of the weights, not in the model.
    """

    loaded: list[str]
    missing: list[str]
    reshaped: list[str]
    unused: list[str]


def load_matching_weights(model: MaskRCNN, weights: Mapping[str, Tensor]) -> PartialLoad:
    """Take over every weight whose name and shape fit: fine-tuning with other classes keeps all but the last layers.

    Args:
        model: changed in place.
        weights: as `read_weights` returns them.

    Raises:
        ValueError: not one weight fits.
    """
    own = model.state_dict()
    common = [name for name in own if name in weights]
    loaded = [name for name in common if own[name].shape == weights[name].shape]
    if not loaded:
        raise ValueError(
            f"weights: none of {len(weights)} tensors fits the model by name and shape (first: "
            f"{next(iter(weights), None)!r}); expected a maskline checkpoint of the same body"
        )
    model.load_state_dict({name: weights[name] for name in loaded}, strict=False)
    return PartialLoad(
        loaded=loaded,
        missing=[name for name in own if name not in weights],
        reshaped=[name for name in common if own[name].shape != weights[name].shape],
        unused=[name for name in weights if name not in own],
    )


def load_body_weights(model: MaskRCNN, path: Path) -> None:
    """Start the ResNet body from a classifier's weights, e.g. torchvision's `resnet50-*.pth` for ImageNet.

    Args:
        model: changed in place; only `backbone.body` and, where the heads hold the fifth stage, `res5`. A non-local
            block that the weights lack stays as initialised: an identity.
        path: a state dict with torchvision's ResNet names, as .pth or .safetensors. The classifier `fc`, of whatever
            number of classes, and, under frozen norms, the counters `num_batches_tracked` are ignored.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or not the weights of this body.
    """
    parts = [model.backbone.body] if model.res5 is None else [model.backbone.body, model.res5]
    weights = {name: tensor for name, tensor in read_weights(path).items() if not name.startswith("fc.")}
    own = {name: tensor for part in parts for name, tensor in part.state_dict().items()}
    for name in [name for name in own if name.startswith("non_local.") and name not in weights]:
        del own[name]
    for name in [name for name in weights if name.endswith("num_batches_tracked") and name not in own]:
        del weights[name]
    problem = _first_misfit(own, weights)
    if problem is not None:
        raise ValueError(f"{path}: {problem}; expected the weights of a {_body_name(model.spec.backbone)} body")
    for part in parts:
        part.load_state_dict({name: weights[name] for name in part.state_dict() if name in weights}, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file that holds nothing but tensors; floats as float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one that holds more than a dict of tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected weights as .safetensors or .pth")
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: cannot be read ({_one_line(error)}); it is damaged or holds no weights") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path}: got a {type(content).__name__}, expected a dict of tensors (a state dict)")
    return {name: value.float() if value.is_floating_point() else value for name, value in content.items()}


def _body_name(spec: BackboneSpec) -> str:
    """E.g. ResNet-50, ResNeXt-101 32x8d, ResNet-50 (group norm)."""
    cardinality = f" {spec.groups}x{spec.width_per_group}d" if spec.groups > 1 else ""
    norm = " (group norm)" if spec.norm == "group" else ""
    return f"{'ResNeXt' if cardinality else 'ResNet'}-{spec.depth}{cardinality}{norm}"


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


def _first_misfit(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str | None:
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


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place once the block has ended without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # so that a power cut cannot leave the new name with old or no bytes
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _one_line(error: BaseException) -> str:
    """The first line of an error's text, for a message of one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
