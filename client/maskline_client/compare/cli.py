"""The command `maskline-client compare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from maskline_command.console import results as results_console
from maskline_command.output_files import refuse_unwritable
from rich.console import Console

from maskline_client.commands.connection_options import with_connection
from maskline_client.commands.progress import progress
from maskline_client.connection import Connection
from maskline_client.detector import Detector
from maskline_client.errors import ClientError


@with_connection()
def compare(
    connection: Connection,
    a: Annotated[str, typer.Argument(help="Name of the first served model.")],
    b: Annotated[str, typer.Argument(help="Name of the second one; the first's, where --url-b is another server.")],
    images: Annotated[Path, typer.Option(help="Folder with images, folders in it included.")],
    url_b: Annotated[str | None, typer.Option(help="Where the second model is, if not at --url.")] = None,
    score_thresh: Annotated[float, typer.Option(min=0, max=1, help="From which score on an object counts.")] = 0.5,
    max_images: Annotated[int | None, typer.Option(min=1, help="Only the first so many images, by name.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="JSON file for all figures.")] = None,
    page: Annotated[Path | None, typer.Option(help="HTML file with the images that differ most.")] = None,
    worst: Annotated[int, typer.Option(min=1, help="How many images the page shows.")] = 8,
    min_agreement: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Exit with 1 where both find less than this share of the objects."),
    ] = None,
) -> None:
    """Compare two served models on the same images: what both find, where they differ, how long each takes.

    The images are sent to both in turn, one call at a time. An image that one of them refuses is named on stderr; the
    others are compared, and the command then exits with 2.

    Example: maskline-client compare maskrcnn nuclei --images photos/ --page out/compare.html --min-agreement 0.95
    Two servers: maskline-client compare maskrcnn maskrcnn --url old:8001 --url-b new:8001 --images photos/
    """
    from maskline_client.compare import run
    from maskline_client.compare.figures import Side
    from maskline_client.compare.page import to_html
    from maskline_client.compare.table import print_tables
    from maskline_client.files import write_json, write_text
    from maskline_client.images import list_images

    other = dataclasses.replace(connection, url=url_b or connection.url)
    if (a, connection.url) == (b, other.url):
        raise ValueError(f"compare: got {a} at {connection.url} twice, expected two models; name another, or --url-b")
    if not images.is_dir():
        raise ValueError(f"{images}: got no folder of that name, expected one with images")
    refuse_unwritable(json_path, page)
    paths = list_images(images)[:max_images]
    titles = (a, b) if a != b else (f"{a} at {connection.url}", f"{b} at {other.url}")
    with _detector(connection, a) as one, _detector(other, b) as two, progress() as bar:
        first = run.Asked(Side(titles[0], connection.url, one.model), one)
        second = run.Asked(Side(titles[1], other.url, two.model), two)
        task = bar.add_task("compare", total=len(paths))
        found, refused = run.compare(first, second, paths, score_thresh, lambda: bar.advance(task))
    if json_path is not None:
        write_json(json_path, found.to_dict())
    if page is not None:
        write_text(page, to_html(found, worst))
    print_tables(results_console(), found)
    for error in refused:
        Console(stderr=True, markup=False, emoji=False).print(f"maskline-client: {error}", style="red", soft_wrap=True)
    if refused:
        raise typer.Exit(2)
    if min_agreement is not None and found.agreement < min_agreement:
        raise ClientError(
            f"compare: got an agreement of {found.agreement:.4f}, expected at least {min_agreement:g}; "
            "--page shows the images that differ most"
        )


def _detector(connection: Connection, model: str) -> Detector:
    return Detector(connection.url, model=model, deadline_s=connection.deadline_s, tls=connection.tls)
