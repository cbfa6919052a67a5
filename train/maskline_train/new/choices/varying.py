"""How training pictures are varied, and what of them is trained on."""

from __future__ import annotations

from maskline_train.new.choices.choice import Choice
from maskline_train.new.choices.sided import names_a_side, sides
from maskline_train.new.survey import Survey

_NUMBERS = frozenset(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
_MOST_EMPTY = 0.5  # of the pictures: with more, most of a step would see no object
_SMALLEST = 0.7  # of the network's size, as the paper's appendix draws scales from [640, 800]: 0.8, and a little more


def varying_choices(found: Survey, shorter_side_px: int) -> list[Choice]:
    """Flips, scales, colours; and whether pictures without an object are shown."""
    probability, reason = _flip(found.classes, found.keypoint_names)
    low = round(_SMALLEST * shorter_side_px)
    scales = "Each picture at another size each time, up to the one that it is served at."
    choices = [
        Choice("augmentation.flip_probability", probability, reason),
        Choice("augmentation.shorter_side_px", (low, shorter_side_px), scales),
        Choice("augmentation.colour_strength", 0.3, "Brightness, contrast and saturation by factors from 0.7 to 1.3."),
    ]
    empty, total = found.num_empty, len(found.sizes)
    if not empty:
        return choices
    shown = empty <= _MOST_EMPTY * total
    what = "shown, so that the model learns what is no object" if shown else "left out: steps would mostly see nothing"
    return [*choices, Choice("training.keep_empty", shown, f"{empty} of {total} pictures have no object; {what}.")]


def _flip(classes: tuple[str, ...], keypoints: tuple[str, ...]) -> tuple[float, str]:
    """The probability of a mirrored picture, and why."""
    if keypoints and not sides(keypoints):
        return 0.0, "No two keypoints are named as left and right; with flip_pairs of theirs pictures can be mirrored."
    sided = [name for name in classes if names_a_side(name)]
    if sided:
        return 0.0, f"The class {sided[0]!r} names a side, which a mirrored picture would have wrong."
    signs = [name for name in classes if len(name) == 1 or name.isdecimal() or name.lower() in _NUMBERS]
    if signs:
        return 0.0, f"The class {signs[0]!r} is a sign, most likely, and another one in a mirror."
    return 0.5, "Mirrored pictures too. Set 0 where a mirrored object is of another class, or none."
