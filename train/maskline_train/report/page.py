"""The page of a report."""

from __future__ import annotations

from maskline_show.page import whole_page
from maskline_show.parts import facts, section, table, text, tiles

from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.evaluate import Metrics, percent
from maskline_train.report import charts
from maskline_train.report.findings import Findings
from maskline_train.report.numbers import Numbers
from maskline_train.report.pictures import ReportPictures
from maskline_train.report.run import Run, machine
from maskline_train.report.tables import ap_table, changed, class_table, confusion

SHOWN_NAMES = 20  # classes that are named in a line


def to_html(
    dataset: CocoDataset,
    metrics: Metrics,
    findings: Findings,
    numbers: Numbers,
    run: Run | None,
    before: tuple[str, Numbers] | None,
) -> str:
    """The page as text; it refers to no other file and no network address.

    Args:
        dataset: the split that was evaluated.
        metrics: of it.
        findings: of it.
        numbers: of it, as they are written down.
        run: that the model comes from, where that is known.
        before: name and figures of the run to compare with.
    """
    title = f"maskline training: {numbers['checkpoint']}"
    pictures = ReportPictures(dataset, metrics.results, findings)
    likeness = "Likeness: the mean IoU of what was found, 0 for each object that is missing and each that is not there."
    body = [
        f"<h1>{text(title)}</h1>",
        f'<p class="soft">{text(numbers["finished"])}, scored on {metrics.num_images} images of '
        f"{text(dataset.annotation_file)}.</p>",
        _tiles(metrics, findings),
        section("What was trained", facts(_facts(dataset, numbers, run))),
        changed(numbers, before),
        _curves(run, findings),
        ap_table(metrics),
        class_table(metrics, findings, dataset.classes),
        confusion(findings, dataset.classes),
        _calibration(findings),
        pictures.images("Worst images", likeness, findings.worst),
        pictures.missed(),
        pictures.false(),
        pictures.images("Best images", likeness, findings.best),
    ]
    return whole_page(title, "\n".join(body))


def _tiles(metrics: Metrics, findings: Findings) -> str:
    kind, values = list(metrics.kinds().items())[-1]
    found, objects = (sum(getattr(one, name) for one in findings.classes) for name in ("found", "objects"))
    right = sum(one.right for one in findings.classes)
    at = f"at score {findings.threshold:.2f}"
    return tiles(
        (
            (percent(values["AP"]), f"{kind} AP"),
            (percent(values["AP50"]), f"{kind} AP50"),
            (percent(right / found if found else None), f"% of the detections are right, {at}"),
            (percent(right / objects if objects else None), f"% of the objects are found, {at}"),
            (percent(findings.calibration_error), "% by which scores and shares of right ones differ"),
        )
    )


def _facts(dataset: CocoDataset, numbers: Numbers, run: Run | None) -> dict[str, object]:
    names = ", ".join(dataset.classes[:SHOWN_NAMES])
    more = len(dataset.classes) - SHOWN_NAMES
    found: dict[str, object] = {
        "checkpoint": numbers["checkpoint"],
        "classes": f"{len(dataset.classes)}: {names}" + (f" and {more} more" if more > 0 else ""),
        "scored on": _scored_on(dataset, numbers),
        "machine": machine(),
    }
    if run is None:
        return {**found, "training": "not known: no recipe.json, metrics.jsonl and train.log beside the checkpoint"}
    training = run.recipe["training"]
    return {
        **found,
        "beginning": "; ".join(run.beginnings) or "not in train.log",
        "steps": f"{run.steps}, of {training['total_batch']} images each",
        "learning rate": f"{training['base_lr']:g} for {training['reference_batch']} images a step",
        "time": "not known" if run.seconds is None else f"{run.seconds:.0f} s of the last fit, evaluations included",
        "recipe": ("" if run.recipe_name is None else f"{run.recipe_name}; ") + "recipe.json in the folder of the run",
    }


def _scored_on(dataset: CocoDataset, numbers: Numbers) -> str:
    count = int(numbers["data"]["images"])
    return dataset.describe() if count == len(dataset) else f"the first {count} images of {dataset.describe()}"


def _curves(run: Run | None, findings: Findings) -> str:
    metrics = [] if run is None else run.metrics
    shown = {
        "Losses": charts.loss_chart(metrics),
        "Learning rate": charts.rate_chart(metrics),
        "Average precision over the steps": charts.ap_chart(metrics),
        "Precision and recall by threshold": charts.threshold_chart(findings),
    }
    return f'<div class="pair">{"".join(_card(name, chart) for name, chart in shown.items())}</div>'


def _card(title: str, chart: str | None) -> str:
    return "" if chart is None else section(title, chart)


def _calibration(findings: Findings) -> str:
    chart = charts.calibration_chart(findings)
    if chart is None or findings.calibration_error is None:
        return ""
    note = (
        "Of all detections with a score in a tenth, the share that is right; a calibrated score is that share. "
        f"Expected calibration error: {100 * findings.calibration_error:.1f} %, the mean distance of the two over all "
        "detections."
    )
    rows = [(one.count, f"{one.score:.3f}", f"{one.right:.3f}") for one in findings.bins]
    both = f'<div class="pair"><div>{chart}</div><div>{table(("detections", "mean score", "right"), rows)}</div></div>'
    return section("Calibration of scores", both, note)
