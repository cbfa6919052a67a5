"""The tables of a report."""

from __future__ import annotations

from maskline_show.parts import section, table, text

from maskline_train.evaluation.evaluate import Metrics, percent
from maskline_train.report import changes
from maskline_train.report.findings import Findings
from maskline_train.report.numbers import Numbers

MATRIX_CLASSES = 20  # of more, a matrix cannot be read: the commonest confusions are listed
LISTED = 30
Names = tuple[str, ...]


def ap_table(metrics: Metrics) -> str:
    """The statistics of each kind."""
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    rows = [[kind, *(percent(values.get(name)) for name in names)] for kind, values in metrics.kinds().items()]
    note = f"COCO metric, in %, on {metrics.num_images} images. -: nothing of that size, or not of this kind."
    return section("Average precision", table(["", *names], rows), note)


def class_table(metrics: Metrics, findings: Findings, names: Names) -> str:
    """Each class at the threshold; of many classes the card scrolls."""
    kinds = list(metrics.kinds())
    rows = [
        [
            *(name, one.objects, one.found, one.right, percent(one.precision), percent(one.recall)),
            *(percent(metrics.per_class[name].get(kind)) for kind in kinds),
        ]
        for name, one in zip(names, findings.classes, strict=True)
    ]
    head = ["class", "objects", "found", "right", "precision", "recall", *(f"{kind} AP" for kind in kinds)]
    return section("By class", f'<div class="tall">{table(head, rows)}</div>', _at(findings) + " AP: of all scores.")


def confusion(findings: Findings, names: Names) -> str:
    """Which classes are taken for which: a matrix, or a list where there are many classes."""
    body = _matrix(findings, names) if len(names) <= MATRIX_CLASSES else _list(findings, names)
    note = (
        f"Rows: what it is; columns: what it was found as. {_at(findings)} An object of another class counts "
        "where none of its own was found on it; background: nothing is there, or it was found already."
    )
    return section("Confusion between classes", body, note)


def changed(numbers: Numbers, before: tuple[str, Numbers] | None) -> str:
    """What has changed since the last run."""
    title = "What has changed"
    if before is None:
        note = "No other finished run beside this one was scored on the same images: nothing is compared."
        return section(title, "", note)
    name, other = before
    note = f"Since {name}, finished {other['finished']}: the last run beside this one, of those scored on its images."
    head = ("", "before", "now", "points")
    body = table(head, changes.figures(other, numbers))
    if moved := changes.classes(other, numbers):
        body += f"<h3>AP of the classes that changed most</h3>{table(head, moved)}"
    differs = changes.recipe(other, numbers)
    same = '<p class="soft">The recipes are the same.</p>'
    return section(title, body + (f"<h3>Recipe</h3>{table(head[:3], differs)}" if differs else same), note)


def _at(findings: Findings) -> str:
    """What the figures are of."""
    kind = "masks" if findings.masks else "boxes"
    return (
        f"Of detections with a score of {findings.threshold:.3f} or more, where F1 over all classes is best; found: "
        f"{kind} with an IoU of 0.5 or more."
    )


def _matrix(findings: Findings, names: Names) -> str:
    """Counts, darker the larger a share of their row they are."""
    labels = [*range(len(names)), None]
    head = "".join(f"<th>{text(name)}</th>" for name in ("", *names, "missed"))
    lines = []
    for truth in labels:
        counts = [findings.confusion.get((truth, found), 0) for found in labels]
        total = sum(counts)
        cells = "".join(_heat(n, total, right=found == truth) for n, found in zip(counts, labels, strict=True))
        lines.append(f"<tr><td>{text('background' if truth is None else names[truth])}</td>{cells}</tr>")
    return f'<table class="matrix"><tr>{head}</tr>{"".join(lines)}</table>'


def _heat(count: int, total: int, *, right: bool) -> str:
    if not count:
        return "<td></td>"
    colour = "--series-2" if right else "--series-3"
    share = round(10 + 50 * count / total)
    return f'<td style="background: color-mix(in srgb, var({colour}) {share}%, transparent)">{count}</td>'


def _list(findings: Findings, names: Names) -> str:
    """The commonest confusions of two classes."""
    both = {pair: count for pair, count in findings.confusion.items() if None not in pair and pair[0] != pair[1]}
    most = sorted(both.items(), key=lambda entry: -entry[1])[:LISTED]
    rows = [(names[truth or 0], names[found or 0], count) for (truth, found), count in most]
    missed = sum(count for (_, found), count in findings.confusion.items() if found is None)
    nothing = sum(count for (truth, _), count in findings.confusion.items() if truth is None)
    said = f'<p class="soft">{missed} objects missed, {nothing} detections on background.</p>'
    return said + (table(("is", "found as", "times"), rows) if rows else "<p>No class was taken for another.</p>")
