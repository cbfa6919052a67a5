"""What a server serves: its outputs compared with the contract, the names of its classes and keypoints.

Letters: D detections an image, J keypoints.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from maskline_client.contract import (
    ARTIFACT_PARAMETER,
    BATCH,
    DEFAULT_MODEL,
    KEYPOINTS,
    KEYPOINTS_PARAMETER,
    LABELS_PARAMETER,
    MASK_RLE,
    MASKRCNN_BOXES,
    MASKS,
    PRECISION_PARAMETER,
    RELEASE_PARAMETER,
    REVISION_PARAMETER,
    EnsembleSpec,
    TensorSpec,
)
from maskline_client.errors import ContractMismatch

ARTIFACT_DIGITS = 12  # of a hash, where people read it


@dataclasses.dataclass(frozen=True)
class KeypointNames:
    """What the keypoints of a model are.

    Attributes:
        names: J names, in the order of the output's rows.
        flip_pairs: names of what a mirror swaps, (left, right) each.
        sigmas: OKS constants in units of sqrt(area), one a keypoint; empty where the model has none of its own.
    """

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[str, str], ...] = ()
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names and numbers that do not fit together."""
        flipped = [name for pair in self.flip_pairs for name in pair]
        if not self.names or len({*self.names}) != len(self.names):
            raise ValueError(f"got the names {list(self.names)}, expected one or more, each once")
        if not {*flipped} <= {*self.names} or any(len(pair) != 2 for pair in self.flip_pairs):
            raise ValueError(f"got the flip pairs {list(self.flip_pairs)}, expected pairs of the names")
        if len(self.sigmas) not in (0, len(self.names)) or not all(0 < sigma < float("inf") for sigma in self.sigmas):
            raise ValueError(
                f"got the sigmas {list(self.sigmas)}, expected none, or {len(self.names)} finite numbers above 0"
            )


@dataclasses.dataclass(frozen=True)
class ModelIdentity:
    """Which model gave an answer; empty strings for what a repository of an earlier release does not say.

    Attributes:
        name: by which it was asked for, e.g. "maskrcnn".
        artifact: sha256 of the manifest it was made of.
        precision: what its stages compute in: fp32, fp16, bf16, int8, int8-cpu.
        maskline: the release that assembled its repository.
        revision: of the repository, 12 hexadecimal digits: another one wherever anything that decides answers differs.
    """

    name: str = ""
    artifact: str = ""
    precision: str = ""
    maskline: str = ""
    revision: str = ""

    def __str__(self) -> str:
        """One line, the artifact by its first digits."""
        known = {"": self.precision, "maskline ": self.maskline, "revision ": self.revision}
        said = [f"{word}{value}" for word, value in known.items() if value]
        return ", ".join([f"artifact {self.artifact[:ARTIFACT_DIGITS] or 'unknown'}", *said])


UNKNOWN_MODEL = ModelIdentity()


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """What this client knows of an ensemble once it has compared it with the contract.

    Attributes:
        classes: class names, label 0 first.
        outputs: what the ensemble answers; without masks for boxes alone.
        max_detections: D.
        keypoints: None for a model without a keypoint branch.
        identity: which model it is.
    """

    classes: tuple[str, ...]
    outputs: tuple[TensorSpec, ...]
    max_detections: int
    keypoints: KeypointNames | None = None
    identity: ModelIdentity = UNKNOWN_MODEL

    @property
    def artifact(self) -> str:
        """The sha256 of the manifest that the model was made of; empty where the repository does not say."""
        return self.identity.artifact

    @property
    def has_masks(self) -> bool:
        """Whether objects come with masks."""
        return MASK_RLE in self.outputs or MASKS in self.outputs

    def boxes_alone(self) -> ServedModel:
        """The same model as it answers without masks and keypoints."""
        return dataclasses.replace(self, outputs=MASKRCNN_BOXES.outputs, keypoints=None)

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the J keypoints; empty where there are none."""
        return self.keypoints.names if self.keypoints else ()


def read_model(metadata: Any, config: Any, spec: EnsembleSpec, name: str = DEFAULT_MODEL) -> ServedModel:
    """Compare an ensemble with the contract and take the names out of its configuration.

    Args:
        metadata: Triton's ModelMetadataResponse.
        config: Triton's ModelConfigResponse.
        spec: what the ensemble must be.
        name: of the model.

    Raises:
        ContractMismatch: the first name, type, shape or parameter that differs.
    """
    spec = spec.named(name)
    sizes = check_ensemble(metadata, spec)
    offered = {tensor.name for tensor in metadata.outputs}
    outputs = tuple(output for output in spec.outputs if output.name in offered)
    keypoints = keypoint_names(config) if KEYPOINTS in outputs else None
    if keypoints is not None and len(keypoints.names) != sizes["J"]:
        raise ContractMismatch(
            f"{spec.name}: got {len(keypoints.names)} names in the parameter {KEYPOINTS_PARAMETER}, expected "
            f"{sizes['J']}, one for each row of the output {KEYPOINTS.name}; assemble the repository with "
            "`maskline-serve assemble`"
        )
    said = (ARTIFACT_PARAMETER, PRECISION_PARAMETER, RELEASE_PARAMETER, REVISION_PARAMETER)
    identity = ModelIdentity(name, *(_parameter(config, key) for key in said))
    return ServedModel(class_names(config), outputs, sizes["D"], keypoints, identity)


def check_ensemble(metadata: Any, spec: EnsembleSpec) -> dict[str, int]:
    """Compare an ensemble's tensors with the contract.

    Args:
        metadata: Triton's ModelMetadataResponse.
        spec: what it must be; its optional outputs may be missing.

    Returns:
        The size of each letter of the shapes.

    Raises:
        ContractMismatch: the first name, type or shape that differs.
    """
    sizes: dict[str, int] = {}
    _check_tensors(f"{spec.name}: input", metadata.inputs, spec.inputs, (), sizes)
    required = tuple(tensor for tensor in spec.outputs if tensor not in spec.optional)
    _check_tensors(f"{spec.name}: output", metadata.outputs, required, spec.optional, sizes)
    return sizes


def fit_shape(shape: Sequence[int], expected: Sequence[int | str], sizes: dict[str, int]) -> bool:
    """Whether a shape is the expected one; a letter takes the size it meets first and must keep it."""
    fits = len(shape) == len(expected)
    for got, want in zip(shape, expected, strict=False):
        fits = fits and got == (sizes.setdefault(want, got) if isinstance(want, str) else want)
    return fits


def shape_text(expected: Sequence[int | str], sizes: dict[str, int]) -> str:
    """An expected shape in words, known letters as their sizes."""
    return f"[{', '.join(str(sizes.get(str(side), side)) for side in expected)}]"


def class_names(config: Any) -> tuple[str, ...]:
    """The class names in an ensemble's configuration.

    Args:
        config: Triton's ModelConfigResponse.

    Raises:
        ContractMismatch: no such parameter, or not a JSON list of names.
    """
    text = _parameter(config, LABELS_PARAMETER)
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or lists a thousand deep in each other
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ContractMismatch(
            f"parameter {LABELS_PARAMETER}: got {text[:60]!r}, expected a JSON list of class names; "
            "assemble the repository with `maskline-serve assemble`"
        )
    return tuple(names)


def keypoint_names(config: Any) -> KeypointNames:
    """The keypoints in the configuration of an ensemble that answers them.

    Args:
        config: Triton's ModelConfigResponse.

    Raises:
        ContractMismatch: no such parameter, or not what the contract says.
    """
    text = _parameter(config, KEYPOINTS_PARAMETER)
    try:
        found = json.loads(text)
        return KeypointNames(
            tuple(_text(name) for name in found["names"]),
            tuple((_text(left), _text(right)) for left, right in found["flip_pairs"]),
            tuple(float(sigma) for sigma in found["sigmas"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ContractMismatch(
            f"parameter {KEYPOINTS_PARAMETER}: got {text[:60]!r} ({error}), expected a JSON object with names, "
            "flip_pairs and sigmas; assemble the repository with `maskline-serve assemble`"
        ) from error


def _check_tensors(
    where: str,
    tensors: Any,
    required: Sequence[TensorSpec],
    optional: Sequence[TensorSpec],
    sizes: dict[str, int],
) -> None:
    """Compare the inputs or the outputs with the contract; letters seen before must have the same size."""
    found = {tensor.name: tensor for tensor in tensors}
    names = {spec.name for spec in required}
    if not names <= set(found) <= names | {spec.name for spec in optional}:
        also = f" and perhaps {' or '.join(spec.name for spec in optional)}" if optional else ""
        raise ContractMismatch(
            f"{where}s: got {', '.join(sorted(found)) or 'none'}, expected {', '.join(sorted(names))}{also}; "
            "the server serves another model"
        )
    for spec in (*required, *optional):
        if spec.name not in found:
            continue
        tensor, expected = found[spec.name], (BATCH, *spec.shape)
        if tensor.datatype != spec.dtype or not fit_shape(tuple(tensor.shape), expected, sizes):
            raise ContractMismatch(
                f"{where} {spec.name}: got {tensor.datatype} {list(tensor.shape)}, "
                f"expected {spec.dtype} {shape_text(expected, sizes)}; client and server are of different releases"
            )


def _parameter(config: Any, name: str) -> str:
    """A parameter of a configuration; empty where it has none of that name."""
    parameters = config.config.parameters
    return str(parameters[name].string_value) if name in parameters else ""


def _text(value: Any) -> str:
    """A JSON string as it is.

    Raises:
        TypeError: something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"got the name {value!r}, expected a text")
    return value
