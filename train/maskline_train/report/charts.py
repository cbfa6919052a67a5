"""The plots of a report, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

from maskline_show.chart import INK, SERIES, chart
from matplotlib.axes import Axes

from maskline_train.report.findings import BINS, Findings

Entries = Sequence[dict[str, float | str]]
MOST_POINTS = 300  # of a line: more cannot be told apart, and would make the page large
_NO_LOSS = ("kind", "step", "lr", "grad_norm", "images_per_s")


def loss_chart(metrics: Entries) -> str | None:
    """The loss and its parts over the steps; None before the first is written down."""
    entries = [entry for entry in metrics if entry["kind"] == "train"]
    if not entries:
        return None

    def draw(axes: Axes) -> None:
        names = [name for name in entries[0] if name not in _NO_LOSS]
        for name, colour in zip(names, SERIES, strict=False):
            x, y = _line(entries, name)
            axes.plot(x, y, _mark(x), color=colour, label=name, linewidth=2.2 if name == "loss" else 1.4)
        _steps(axes)
        axes.set_ylabel("loss")

    return chart(draw)


def rate_chart(metrics: Entries) -> str | None:
    """The learning rate over the steps."""
    entries = [entry for entry in metrics if entry["kind"] == "train"]
    if not entries:
        return None

    def draw(axes: Axes) -> None:
        x, y = _line(entries, "lr")
        axes.plot(x, y, _mark(x), color=SERIES[0], label="learning rate", linewidth=2)
        _steps(axes)

    return chart(draw)


def ap_chart(metrics: Entries) -> str | None:
    """AP and AP50 of each kind over the steps; None before the first evaluation."""
    entries = [entry for entry in metrics if entry["kind"] == "evaluation"]
    if not entries:
        return None

    def draw(axes: Axes) -> None:
        kinds = [kind for kind in ("box", "mask", "keypoint") if f"{kind}_AP" in entries[-1]]
        for kind, colour in zip(kinds, SERIES, strict=False):
            for name, style in (("AP", "-"), ("AP50", "--")):
                x, y = _line([entry for entry in entries if f"{kind}_{name}" in entry], f"{kind}_{name}")
                y = [100 * value for value in y]
                axes.plot(x, y, style, marker="o", markersize=3, color=colour, label=f"{kind} {name}", linewidth=2)
        _steps(axes)
        axes.set_ylabel("%")

    return chart(draw)


def threshold_chart(findings: Findings) -> str | None:
    """Precision, recall and F1 by the score from which on a detection counts; None where nothing is right."""
    if not findings.curve:
        return None

    def draw(axes: Axes) -> None:
        scores, precision, recall = zip(*findings.curve, strict=True)
        f1 = [2 * p * r / (p + r) if p + r else 0.0 for p, r in zip(precision, recall, strict=True)]
        for values, name, colour in zip((precision, recall, f1), ("precision", "recall", "F1"), SERIES, strict=False):
            axes.plot(scores, values, color=colour, label=name, linewidth=2)
        axes.axvline(findings.threshold, color=INK, linewidth=1, linestyle=":")
        axes.set_xlabel("score threshold")
        axes.set_xlim(0, 1)

    return chart(draw)


def calibration_chart(findings: Findings) -> str | None:
    """The share of detections that are right by their score, beside what the score promises; None of none."""
    if not findings.bins:
        return None

    def draw(axes: Axes) -> None:
        x = [(int(min(one.score * BINS, BINS - 1)) + 0.5) / BINS for one in findings.bins]
        axes.bar(
            x, [one.right for one in findings.bins], width=0.9 / BINS, color=SERIES[0], label="share that is right"
        )
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":", label="as the score says")
        axes.set_xlabel("score")
        axes.set_xlim(0, 1)

    return chart(draw)


def _steps(axes: Axes) -> None:
    """The axis of the steps, from the first one of the run on."""
    axes.set_xlabel("step")
    axes.set_xlim(left=0)


def _line(entries: Entries, name: str) -> tuple[list[float], list[float]]:
    """Steps and values; of many, means of neighbours."""
    size = -(-len(entries) // MOST_POINTS)
    groups = [entries[i : i + size] for i in range(0, len(entries), size)]
    x = [float(group[-1]["step"]) for group in groups]
    return x, [sum(float(entry.get(name, 0.0)) for entry in group) / len(group) for group in groups]


def _mark(x: Sequence[float]) -> str:
    """A single point has no line."""
    return "-" if len(x) > 1 else "o"
