"""What `maskline-client bench` does once its options are read."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from tritonclient.utils import InferenceServerException

from maskline_client.bench.images import load_images
from maskline_client.bench.report import write_report
from maskline_client.bench.results import BenchResults, write_csv, write_json
from maskline_client.bench.run import run_bench
from maskline_client.bench.settings import BenchSettings
from maskline_client.bench.table import print_tables
from maskline_client.errors import from_status


def run_command(settings: BenchSettings, images: Path, out: Path, console: Console) -> BenchResults:
    """Measure, write results.json, results.csv and report.html to `out`, print the tables.

    Raises:
        ValueError: `images` is not a folder of images.
        ClientError: the server is not there, refuses an image before anything was timed, or answers differently
            under load than alone.
        OSError: `out` cannot be written.
    """
    loaded = load_images(images)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with console.status("starting") as status:
            results = run_bench(settings, loaded, out, status.update)
    except InferenceServerException as error:
        raise from_status(str(error.status()), str(error.message()), settings.url, settings.timeout_s) from error
    write_json(out / "results.json", results)
    write_csv(out / "results.csv", results)
    write_report(out / "report.html", results)
    print_tables(console, results)
    console.print(f"report: {out / 'report.html'}", soft_wrap=True)
    return results
