"""What has changed since another run: its figures, and the recipe behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from maskline_train.evaluation.evaluate import percent
from maskline_train.report.numbers import Numbers

SHOWN_CLASSES = 10
LEAST_SHOWN = 0.0005  # what is no tenth of a point when it is rounded
Row = tuple[str, str, str, str]


def figures(before: Numbers, now: Numbers) -> list[Row]:
    """Name, before, now, difference: AP of each kind, precision and recall over all classes, calibration error."""
    kinds = [kind for kind in now["ap"] if kind in before["ap"]]
    rows = [
        _row(f"{kind} {name}", before["ap"][kind].get(name), now["ap"][kind].get(name))
        for kind in kinds
        for name in ("AP", "AP50")
    ]
    for name, of in (("precision", "found"), ("recall", "objects")):
        rows.append(_row(name, _share(before, of), _share(now, of)))
    rows.append(_row("calibration error", before["calibration_error"], now["calibration_error"]))
    rows.append(("score threshold", f"{before['score_thresh']:.3f}", f"{now['score_thresh']:.3f}", ""))
    return rows


def classes(before: Numbers, now: Numbers) -> list[Row]:
    """AP of the classes that have changed most, those that have lost first."""
    kind = list(now["ap"])[-1]
    pairs = {
        name: (before["ap_by_class"].get(name, {}).get(kind), values.get(kind))
        for name, values in now["ap_by_class"].items()
    }
    both = {name: after - old for name, (old, after) in pairs.items() if old is not None and after is not None}
    changed = {name: difference for name, difference in both.items() if abs(difference) >= LEAST_SHOWN}
    most = sorted(changed, key=lambda name: -abs(changed[name]))[:SHOWN_CLASSES]
    return [_row(name, *pairs[name]) for name in sorted(most, key=changed.__getitem__)]


def recipe(before: Numbers, now: Numbers) -> list[tuple[str, str, str]]:
    """Name, before, now of all that differs in the recipes."""
    old, new = dict(_flat(before["recipe"])), dict(_flat(now["recipe"]))
    names = sorted(old.keys() | new.keys())
    return [
        (name, str(old.get(name, "-")), str(new.get(name, "-"))) for name in names if old.get(name) != new.get(name)
    ]


def _row(name: str, old: float | None, new: float | None) -> Row:
    difference = "" if old is None or new is None else f"{100 * (new - old):+.1f}"
    return name, percent(old), percent(new), difference


def _share(numbers: Numbers, of: str) -> float | None:
    """Right ones of all that were found, or of all objects."""
    total = sum(one[of] for one in numbers["classes"].values())
    return sum(one["right"] for one in numbers["classes"].values()) / total if total else None


def _flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Entries of nested dicts, named `training.steps`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
