"""Where training starts: a body from a classifier's weights, or a whole model, class by class where names are the same.

Cityscapes from COCO: 7 of its 8 classes are COCO's, rider alone starts at random (ledger P71).
Ref: paper section "Experiments on Cityscapes": "we initialize the corresponding 7 categories in Cityscapes from a
pre-trained COCO Mask R-CNN model (rider being randomly initialized)".

Letters: K classes of this model, C classes of the weights, M mask side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from maskline_train.checkpoint import SPEC_FILE, WEIGHTS_FILE, first_misfit, read_weights
from maskline_train.conventions import differences
from maskline_train.convert.frameworks import foreign_framework
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import BackboneSpec, ModelSpec


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
    problem = first_misfit(own, weights)
    if problem is not None:
        raise ValueError(f"{path}: {problem}; expected the weights of a {_body_name(model.spec.backbone)} body")
    for part in parts:
        part.load_state_dict({name: weights[name] for name in part.state_dict() if name in weights}, strict=False)


def _body_name(spec: BackboneSpec) -> str:
    """E.g. ResNet-50 (group norm)."""
    return spec.body_name + (" (group norm)" if spec.norm == "group" else "")


def load_weights_by_class(model: MaskRCNN, weights: Mapping[str, Tensor], classes: Sequence[str]) -> PartialLoad:
    """`load_matching_weights`, but the rows of a class in the last layers go where that class is now.

    The rows of the background are taken over too; those of classes that the weights do not know stay as initialised.

    Args:
        model: changed in place.
        weights: as `read_weights` returns them.
        classes: C names, in the order of the weights' rows.

    Returns:
        What was loaded; tensors of which only some rows were are among `loaded`.

    Raises:
        ValueError: not one weight fits.
    """
    layers = _rows_of_a_class(model)
    load = load_matching_weights(model, {name: value for name, value in weights.items() if name not in layers})
    for name, per_class in layers.items():
        if name not in weights:
            continue
        if _copy_rows(model.state_dict()[name], weights[name], model.spec.classes, classes, per_class):
            load.loaded.append(name)
            load.missing.remove(name)
        else:
            load.reshaped.append(name)
            load.missing.remove(name)
    return load


def _rows_of_a_class(model: MaskRCNN) -> dict[str, int]:
    """The tensors that have rows for each class, and how many a class."""
    layers = {"box_head.class_logits": 1, "box_head.box_deltas": 4}
    mask_head = model.spec.mask_head
    if mask_head is not None and not mask_head.class_agnostic:
        layers["mask_head.mask_logits"] = mask_head.mask_side**2 if mask_head.kind == "mlp" else 1
    return {f"{name}.{part}": count for name, count in layers.items() for part in ("weight", "bias")}


@torch.no_grad()
def _copy_rows(own: Tensor, other: Tensor, classes: Sequence[str], other_classes: Sequence[str], count: int) -> bool:
    """Copy the rows of the common classes, and of the background where both have it; False where shapes do not fit."""
    extra = [len(tensor) - names * count for tensor, names in ((own, len(classes)), (other, len(other_classes)))]
    if own.shape[1:] != other.shape[1:] or extra[0] != extra[1] or extra[0] not in (0, count):
        return False
    places = {name: index for index, name in enumerate(other_classes)}
    pairs = [(index, places[name]) for index, name in enumerate(classes) if name in places]
    if extra[0]:  # the background comes last
        pairs.append((len(classes), len(other_classes)))
    for index, place in pairs:
        own[index * count : (index + 1) * count] = other[place * count : (place + 1) * count]
    return True


def start_from(init: Path, model: MaskRCNN) -> str:
    """Load what fits of a checkpoint folder or a file of weights.

    Args:
        init: a checkpoint folder, a file of a model's weights, or one of a classifier's (`load_body_weights`).
        model: changed in place.

    Returns:
        A line for the log: what was loaded, what stays random.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or nothing in it fits.
    """
    weights = read_weights(init / WEIGHTS_FILE if init.is_dir() else init)
    framework = foreign_framework(weights)
    if framework is not None:
        raise ValueError(
            f"{init}: got a network of {framework}, whose names and conventions are not ours; import it first, "
            f"`maskline-train import {init} OUT`, and start from OUT"
        )
    if not any(name.startswith("backbone.") for name in weights):
        load_body_weights(model, init)
        said = f"started the ResNet body from {init}"
    else:
        load, by_class = _load_weights(init, model, weights)
        said = f"started from {init}: {len(load.loaded)} tensors fit{by_class}"
        left = [*load.missing, *load.reshaped]
        if left:
            said += f", {len(left)} stay random (first {left[0]})"
        if init.is_dir():
            said += _other_conventions(ModelSpec.load(init / SPEC_FILE), model.spec)
    return said


def network_of(init: Path | None, classes: Sequence[str]) -> ModelSpec:
    """The network of a checkpoint folder, with its conventions, for other classes: what an import is trained on as.

    Raises:
        ValueError: no checkpoint folder, or a damaged one.
    """
    if init is None or not (init / SPEC_FILE).is_file():
        raise ValueError(
            f"--init: got {'none' if init is None else init}, expected a checkpoint folder, whose {SPEC_FILE} says the "
            "network"
        )
    return dataclasses.replace(ModelSpec.load(init / SPEC_FILE), classes=tuple(classes))


def _other_conventions(there: ModelSpec, here: ModelSpec) -> str:
    """What training has to make up for, or a recipe should say otherwise."""
    found = differences(there, here)
    return f"; their network had other conventions: {', '.join(found)}" if found else ""


def _load_weights(init: Path, model: MaskRCNN, weights: Mapping[str, Tensor]) -> tuple[PartialLoad, str]:
    """Load what fits, class by class where a checkpoint folder knows some of the classes in another order."""
    classes = ModelSpec.load(init / SPEC_FILE).classes if init.is_dir() else model.spec.classes
    common = len(set(classes) & set(model.spec.classes))
    if classes == model.spec.classes or common == 0:
        return load_matching_weights(model, weights), ""
    load = load_weights_by_class(model, weights, classes)
    return load, f", {common} of {model.spec.num_classes} classes by name"
