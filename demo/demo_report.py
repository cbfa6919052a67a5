"""The demo's page: pictures, average precision on the way, parity table, latency; one HTML file that needs no other.

It holds no number of its own: each comes from a file that a command of the demo wrote.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from maskline_client.bench.charts import latency_chart, steps_chart
from maskline_client.bench.results import Measured, Run
from maskline_client.bench.settings import Scenario
from maskline_client.bench.statistics import StepTimes
from maskline_show.page import whole_page
from maskline_show.parts import section, table, text, tiles

STATISTICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def write_report(out: Path, seconds: dict[str, float], base: Path) -> Path:
    """Write OUT/report.html from what the steps left in OUT; returns its path.

    Args:
        out: the demo's folder.
        seconds: how long each step took, by name.
        base: folder of the base checkpoint, with what is known of its training.
    """
    pytorch, parity = _read(out / "ap_pytorch.json"), _read(out / "parity.json")
    served, bench = _read(out / "ap_served.json"), _read(out / "bench" / "results.json")
    sides = {
        "PyTorch": pytorch,
        "ONNX Runtime": parity["ap"][parity["line"]],
        "served by Triton, over gRPC": served,
    }
    body = "\n".join(
        [
            "<h1>maskline demo</h1>",
            '<p class="soft">Handwritten digits, found by a Mask R-CNN that was trained, exported, served by a real '
            "Triton Inference Server and called over gRPC on this machine.</p>",
            _figures(sides, bench),
            _pictures(sorted((out / "detections").glob("*.png"))),
            _ap_table(sides, pytorch["num_images"]),
            _training(_read(base / "training.json"), seconds["fit"]),
            _parity_table(parity),
            _latency(bench),
            _steps(seconds),
        ]
    )
    path = out / "report.html"
    path.write_text(whole_page("maskline demo", body), encoding="utf-8")
    return path


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _figures(sides: dict[str, dict[str, Any]], bench: dict[str, Any]) -> str:
    """The four figures that a reader looks for first."""
    served, trained = sides["served by Triton, over gRPC"]["mask"], sides["PyTorch"]["mask"]
    loops = [run for run in _runs(bench) if not run.void]
    fastest = max((run.images_per_second for run in loops), default=0.0)
    median = f"{loops[0].latency.p50_ms:.0f} ms" if loops else "–"
    return tiles(
        (
            (_percent(served["AP50"]), "mask AP50, served, on held-out images"),
            (f"{abs(100 * (served['AP'] - trained['AP'])):.2f}", "points of mask AP between served and PyTorch"),
            (median, "median latency, JPEG in, masks out, one request at a time"),
            (f"{fastest:.1f}", "images a second at the best concurrency tried"),
        )
    )


def _pictures(paths: list[Path]) -> str:
    """The drawn scenes, inside the page."""
    images = "".join(
        f'<div><img alt="detections in {text(path.stem)}" '
        f'src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"></div>'
        for path in paths
    )
    return section("Found in photographs and scans that training never saw", f'<div class="pair">{images}</div>')


def _ap_table(sides: dict[str, dict[str, Any]], num_images: int) -> str:
    rows = [
        [f"{name}, {kind}", *(_percent(values[kind][key]) for key in STATISTICS)]
        for kind in ("mask", "box")
        for name, values in sides.items()
    ]
    note = f'<p class="soft">Points of 100, COCO metric, the same {num_images} held-out images for each row.</p>'
    return section("Average precision along the line", note + table(["", *STATISTICS], rows))


def _training(base: dict[str, Any], seconds: float) -> str:
    """What the model rests on, said plainly."""
    nothing = base["from_nothing"]
    return section(
        "How it was trained",
        f"<p>This run fine-tuned a base checkpoint for {seconds:.0f} s. The base comes with the repository "
        f"(<code>demo/base</code>); the recipes {text(base['recipe'])}, one after the other, made it from "
        f"random weights in {base['minutes']:.0f} minutes, {text(base['machine'])}, on the training split "
        "alone: mask AP50 "
        f"{_percent(base['mask']['AP50'])}.</p>"
        f"<p>The demo's recipe from nothing, without the base, reached mask AP50 {_percent(nothing['mask']['AP50'])} "
        f"in {nothing['seconds']:.0f} s there (<code>demo/make_base.py</code> ran both).</p>",
    )


def _parity_table(parity: dict[str, Any]) -> str:
    rows = [
        [
            row["stage"],
            f"{row['max_error']:.2g}",
            f"{row['p99_error']:.2g}",
            f"{row['limit']:.2g}",
            row["unit"],
            f"{100 * row['matched']:.1f} %" if row["min_matched"] else "",
            "agrees" if row["ok"] else "deviates",
        ]
        for row in parity["rows"]
    ]
    note = f'<p class="soft">{parity["images"]} images, {parity["detections"]} detections.</p>'
    head = ("stage", "max error", "p99 error", "limit", "unit", "matched", "")
    return section("PyTorch against ONNX Runtime, stage by stage", note + table(head, rows))


def _runs(bench: dict[str, Any]) -> list[Run]:
    """The closed loop's runs of results.json, by concurrency."""
    runs = [
        Run(
            Scenario(run["scenario"]),
            run["concurrency"],
            Measured(
                tuple(run["latencies_ms"]),
                run["wall_s"],
                run["errors"],
                run["client_send_us"],
                run["client_receive_us"],
                (),
            ),
            tuple(StepTimes(**step) for step in run["steps"]),
        )
        for run in bench["runs"]
        if run["scenario"] == Scenario.CLOSED_LOOP
    ]
    return sorted(runs, key=lambda run: run.concurrency)


def _latency(bench: dict[str, Any]) -> str:
    loops = [run for run in _runs(bench) if not run.void]
    if not loops:
        return section("Latency", '<p class="bad">Every run was void; see bench/report.html.</p>')
    machine = ", ".join(f"{text(str(key))} {text(str(value))}" for key, value in bench["machine"].items())
    charts = f'<div class="pair"><div>{latency_chart(loops)}</div><div>{steps_chart(loops[0])}</div></div>'
    link = '<p class="soft">More in <a href="bench/report.html">bench/report.html</a>.</p>'
    return section("Latency, and where a request's time goes", f'{charts}<p class="soft">{machine}</p>{link}')


def _steps(seconds: dict[str, float]) -> str:
    rows = [[name, f"{value:.0f} s"] for name, value in seconds.items()]
    return section("Time of each step", table(["step", ""], rows))
