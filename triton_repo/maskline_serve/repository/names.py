"""What the models of a repository are called.

The public ensembles keep names that clients know: NAME, NAME_raw, NAME_engines, NAME_boxes. The steps inside are named
WORD-TAG: WORD says what a step is, TAG, the repository's revision, which version of it. So two repositories in one
server, or two versions of one, share no step, and no answer is made by two of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

DEFAULT = "maskrcnn"
KINDS = ("", "_raw", "_engines", "_boxes")  # what follows a name in those of its ensembles
TAG_DIGITS = 12
_WORDS = ("preprocess", "backbone", "proposal", "mask", "keypoint", "postprocess")  # of steps
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}")
_BETWEEN = "-"


def ensembles(name: str) -> tuple[str, ...]:
    """The public ensembles of a repository of that name, the one that answers most first."""
    return tuple(name + kind for kind in KINDS)


ENSEMBLES = ensembles(DEFAULT)  # as the reviewed configs call them


def tagged(word: str, tag: str) -> str:
    """The name of a step, or of an ensemble that is not public yet; the word itself where there is no tag."""
    return f"{word}{_BETWEEN}{tag}" if tag else word


def word_of(model: str) -> str:
    """What a model is, e.g. `backbone` of `backbone-1f0c6b3ad2e9`; all of it in repositories without tags."""
    return model.rpartition(_BETWEEN)[0] or model


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: it could be taken for another one, or is no name for a model of Triton and its folder.
    """
    ending = next((kind for kind in KINDS if kind and name.endswith(kind)), None)
    if ending is not None:
        raise ValueError(f"got the name {name!r}, expected one that does not end in {ending}, as its ensembles do")
    if name in _WORDS:
        raise ValueError(f"got the name {name!r}, expected none of those of its steps, {', '.join(_WORDS)}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"got the name {name!r}, expected a letter, then letters, digits, `_` and `.`, 64 in all, e.g. nuclei"
        )
    return name


def renaming(models: Iterable[str], name: str, tag: str) -> dict[str, str]:
    """The name of each model in a repository's reviewed configs -> what it is called in the repository."""
    public = dict(zip(ENSEMBLES, ensembles(name), strict=True))
    return {model: public.get(model) or tagged(model, tag) for model in models}
