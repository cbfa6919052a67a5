"""The fault campaign: real servers, real processes, each kind with what was expected of it before.

Run: make faults, or PYTHONPATH=tests python -m faults.run --only server-killed
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
import traceback
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from faults import files, machine, processes, requests, starting
from faults.kind import CannotRunError, Kind
from faults.page import page as make_page
from faults.scene import Scene
from maskline_client.bench.machine import describe_machine

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "docs" / "benchmarks" / "faults" / "kinds.json", ROOT / "docs" / "faults.md"
KINDS = (*processes.KINDS, *requests.KINDS, *machine.KINDS, *files.KINDS, *starting.KINDS)


def tried(kind: Kind, shared: Path) -> dict[str, Any]:
    """Try one kind in a folder of its own; what came of it."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        try:
            outcome, seen = "holds", kind.check(Scene(Path(folder), shared))
        except CannotRunError as error:
            outcome, seen = "not run", str(error)
        except Exception as error:
            outcome, seen = "differs", f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
            traceback.print_exc()
    # The page names no path of this machine.
    for path, word in ((folder, "FOLDER"), (sys.prefix, "ENVIRONMENT"), (str(shared), "SHARED")):
        seen = seen.replace(path, word)
    return {"name": kind.name, "outcome": outcome, "seen": seen, "seconds": round(time.monotonic() - start, 1)}


def main(
    only: Annotated[list[str] | None, typer.Option(help="A kind's name; repeatable. Default: all.")] = None,
    json_file: Annotated[Path, typer.Option("--json", help="Results; other kinds' stay there.")] = RESULTS,
    write_page: Annotated[bool, typer.Option("--page", help="Write docs/faults.md, run nothing.")] = False,
) -> None:
    """Try kinds of faults and say which expectations hold; status 1 when one does not.

    Example: `make faults ONLY=server-killed`
    """
    # A shell's background job ignores SIGINT, and so would the servers that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    known = {kind.name: kind for kind in KINDS}
    if unknown := set(only or ()) - known.keys():
        raise typer.BadParameter(f"got {', '.join(sorted(unknown))}, expected of {', '.join(known)}")
    kept = json.loads(json_file.read_text("utf-8")) if json_file.exists() else {"kinds": []}
    results = {row["name"]: row for row in kept["kinds"] if row["name"] in known}
    with tempfile.TemporaryDirectory(prefix="faults-") as shared:
        chosen = [] if write_page else [kind for kind in KINDS if not only or kind.name in only]
        if chosen:
            Scene.prepare(Path(shared))
        for number, kind in enumerate(chosen, 1):
            print(f"{number}/{len(chosen)} {kind.name}: {kind.fault}", flush=True)  # noqa: T201
            row = results[kind.name] = tried(kind, Path(shared))
            print(f"  {row['outcome']} after {row['seconds']} s: {row['seen']}", flush=True)  # noqa: T201
            found = {"machine": describe_machine(), "date": date.today().isoformat()}
            ordered = [results[name] for name in known if name in results]
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(json.dumps({**kept, **found, "kinds": ordered}, indent=1) + "\n", encoding="utf-8")
    if json_file == RESULTS:
        PAGE.write_text(make_page(RESULTS, KINDS), encoding="utf-8")
    differ = [kind.name for kind in KINDS if results.get(kind.name, {}).get("outcome") == "differs"]
    if differ:
        print(f"not as expected: {', '.join(differ)}", file=sys.stderr)  # noqa: T201
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    typer.run(main)
