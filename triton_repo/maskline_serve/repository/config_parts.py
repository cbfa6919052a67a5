"""Cuts a reviewed config.pbtxt down to what an artifact has.

The reviewed configs are those of the full model: a pyramid, masks, keypoints. An artifact may lack branches, or the
pyramid; then models, tensors and parameters are left out, and the one feature takes its own name. As in config.py, the
text is edited in place and then parsed and compared with what was meant.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from maskline_serve.repository import config
from maskline_serve.repository.artifact import FEATURES, Artifact

_RPN_LEVELS = (*FEATURES["fpn"], "p6")
# What a repository has for one branch alone: its tensors, and the parameters of the same names.
_OF_BRANCH = {"mask": ("masks", "mask_rle", "paste"), "keypoint": ("keypoints",)}


@dataclasses.dataclass(frozen=True)
class Cut:
    """What to change.

    Attributes:
        models: stages that the artifact lacks.
        tensors: tensors and parameters that it therefore lacks.
        renamed: tensor of the pyramid -> name of the network's only feature, or of the RPN's outputs on it.
    """

    models: frozenset[str]
    tensors: frozenset[str]
    renamed: dict[str, str]


def cut_for(artifact: Artifact) -> Cut:
    """What the reviewed configs have beyond this artifact."""
    models = frozenset(_OF_BRANCH) - set(artifact.stages)
    tensors = {name for model in models for name in _OF_BRANCH[model]}
    renamed: dict[str, str] = {}
    if len(artifact.features) == 1:
        (feature,) = artifact.features
        first, *others = _RPN_LEVELS
        tensors |= {name for level in others for name in _of_level(level)}
        renamed = dict(zip(_of_level(first), _of_level(feature), strict=True))
    return Cut(models, frozenset(tensors), renamed)


def _of_level(level: str) -> tuple[str, ...]:
    return level, f"rpn_logits_{level}", f"rpn_deltas_{level}"


def apply(text: str, cut: Cut, where: str) -> str:
    """The text of a config without what `cut` leaves out, and with its names.

    Raises:
        RepositoryError: the text cannot be changed in place.
    """
    meant = _meant(config.parse(text, where), cut)
    for name in sorted(cut.tensors):
        text = re.sub(rf'^  \{{\n    name: "{name}"[^{{}}]*\}},?\n', "", text, flags=re.MULTILINE)
        text = re.sub(rf'^ *(?:input|output)_map \{{ key: "{name}" [^{{}}]*\}}\n', "", text, flags=re.MULTILINE)
        text = re.sub(rf'^(?:#[^\n]*\n)?parameters \{{ key: "{name}" [^\n]*\n', "", text, flags=re.MULTILINE)
    for name in sorted(cut.models):
        text = re.sub(
            rf'^    \{{\n      model_name: "{name}"\n.*?^    \}},?\n', "", text, flags=re.MULTILINE | re.DOTALL
        )
    text = re.sub(r"\},(\n *\])", r"}\1", text)  # a list whose last entry went
    for old, new in cut.renamed.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    return config.checked(text, meant, where, "cannot leave parts of this text out; write it in the usual form")


def _meant(parsed: Any, cut: Cut) -> Any:
    """The message that `apply` must come to; changes `parsed`."""
    for tensors in (parsed.input, parsed.output):
        kept = [tensor for tensor in tensors if tensor.name not in cut.tensors]
        del tensors[:]
        tensors.extend(kept)
        for tensor in tensors:
            tensor.name = cut.renamed.get(tensor.name, tensor.name)
    if parsed.HasField("ensemble_scheduling"):
        steps = parsed.ensemble_scheduling.step
        left = [step for step in steps if step.model_name not in cut.models]
        del steps[:]
        steps.extend(left)
        for step in steps:
            for names in (step.input_map, step.output_map):
                pairs = {key: value for key, value in names.items() if key not in cut.tensors}
                names.clear()
                names.update({cut.renamed.get(a, a): cut.renamed.get(b, b) for a, b in pairs.items()})
    for name in cut.tensors & set(parsed.parameters):
        del parsed.parameters[name]
    return parsed
