"""What an ablation is: rows that change one recipe each in one way, beside the figures that the paper gives.

A table is a Python file in `tables/` that holds `TABLE`; its rows are trained side by side by `run_table.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from maskline_train.recipe import Recipe
from maskline_train.training.schedule import StepDecay

METRICS = ("AP", "AP50", "AP75")
Change = Callable[[Recipe], Recipe]

# What a row takes of the checkpoint that the table starts from, by the beginnings of the tensors' names.
BODY = ("backbone.body.",)
TRUNK_AND_RPN = ("backbone.", "rpn_head.")
EVERYTHING = ("",)


@dataclasses.dataclass(frozen=True)
class PaperFigure:
    """A number of the paper, in percent.

    Attributes:
        value: as printed.
        in_text: the paper's text says it, or it follows from the text by arithmetic; otherwise it stands in a table
            of the publication and was not checked against the text.
    """

    value: float
    in_text: bool = True

    def __str__(self) -> str:
        return f"{self.value:.1f}" + ("" if self.in_text else "†")


@dataclasses.dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        name: as the paper calls it.
        ledger: the row of docs/ledger.md, e.g. `P05`.
        change: makes the variant's recipe of the base recipe.
        paper: column (`mask AP`, `box AP50`, ...) to the paper's figure.
        start: which tensors it takes of a checkpoint folder given as start. Not the heads: they were trained in one
            variant, which would then need no training.
        stagewise: trained in stages that share nothing, RPN first, instead of end to end.
        augmented: not trained: the last row above that has a result, evaluated with test-time augmentation.
        needs: what the row cannot do without and the start of the other rows is not; it runs when it is asked for.
    """

    name: str
    ledger: str
    change: Change
    paper: Mapping[str, PaperFigure]
    start: tuple[str, ...] = TRUNK_AND_RPN
    stagewise: bool = False
    augmented: bool = False
    needs: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        title: which, and of what.
        setting: what the paper trained and tested on.
        finding: what the paper concludes from it.
        kinds: `box`, `mask`, `keypoint`: which metrics are shown.
        rows: the variants, in the paper's order.
        small: the recipe that a CPU runs, which the rows change.
        full: the recipe of the paper's own setting.
        equal_budgets: False where the schedule is one of the things that the rows change.
    """

    title: str
    setting: str
    finding: str
    kinds: tuple[str, ...]
    rows: tuple[Row, ...]
    small: str = "ablation_small"
    full: str = "mask_rcnn_r50_fpn"
    equal_budgets: bool = True

    @property
    def annotations(self) -> str:
        """Which annotation files it needs: annotations/KIND_SPLIT.json."""
        return "person_keypoints" if "keypoint" in self.kinds else "instances"

    def columns(self) -> tuple[str, ...]:
        """The metrics shown: `mask AP`, `mask AP50`, `mask AP75`, ..."""
        return tuple(f"{kind} {name}" for kind in self.kinds for name in METRICS)


def text(**figures: float) -> dict[str, PaperFigure]:
    """Figures that the paper's text gives; `mask_AP=30.3` for the column `mask AP`."""
    return {name.replace("_", " "): PaperFigure(value) for name, value in figures.items()}


def published(**figures: float) -> dict[str, PaperFigure]:
    """Figures of the publication's tables that its text does not repeat; shown with a dagger."""
    return {name.replace("_", " "): PaperFigure(value, in_text=False) for name, value in figures.items()}


def edit(part: str, **fields: object) -> Change:
    """A change of single fields of one part of the model, e.g. `edit("roi_align", mode="pool")`."""

    def change(recipe: Recipe) -> Recipe:
        old = getattr(recipe.model, part)
        new = dataclasses.replace(old, **fields)
        return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, **{part: new}))

    return change


def schedule(steps: float, *milestones: float, of: float = 160) -> Change:
    """The paper's schedule, in thousands of steps where the base recipe has `of`; others in proportion to theirs.

    Args:
        steps: in all.
        milestones: where the rate falls; a cosine has none and is stretched.
        of: the paper's steps for what the base recipe trains.
    """

    def change(recipe: Recipe) -> Recipe:
        unit, decay = recipe.training.steps / of, recipe.training.decay
        if isinstance(decay, StepDecay):
            decay = dataclasses.replace(decay, milestones=tuple(round(unit * milestone) for milestone in milestones))
        training = dataclasses.replace(recipe.training, steps=round(unit * steps), decay=decay)
        return dataclasses.replace(recipe, training=training)

    return change


def chain(*changes: Change) -> Change:
    """One change after the other."""

    def change(recipe: Recipe) -> Recipe:
        for step in changes:
            recipe = step(recipe)
        return recipe

    return change


def without_masks(recipe: Recipe) -> Recipe:
    """The change to a network without a mask branch."""
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, mask_head=None))


def same(recipe: Recipe) -> Recipe:
    """No change: the row that is the base recipe itself."""
    return recipe
