"""docs/faults.md: each kind of fault, what was expected of it, what was seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faults.kind import Kind

HEAD = """# Faults

*`make faults` makes them and writes this page, of [docs/benchmarks/faults](benchmarks/faults);
`make faults ONLY=server-killed` makes one.*

Each is made on a real server with real clients; what was expected of it stands in `tests/faults` and was written before
it was tried. The stand-in artifact answers what can be foreseen, so every answer is checked. Under load: 4 clients that
call without a pause. After each, nothing of the server may be left: processes, regions in `/dev/shm`, work folder. A
killed tritonserver leaves an empty folder `/tmp/python_env_*`, whose name its Python backend tells nobody.
Seconds are those of a loaded machine. Not made: a step of the wall clock, which is the whole machine's (a library
before libc moves `clock_gettime` alone, and what waits in the kernel then ends at another time than it would).
"""


def page(results: Path, kinds: Sequence[Kind]) -> str:
    """The page, of the results in a file."""
    found = json.loads(results.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in found["kinds"]}
    counts = [sum(row["outcome"] == outcome for row in rows.values()) for outcome in ("holds", "differs", "not run")]
    untried = [kind.name for kind in kinds if kind.name not in rows]
    lines = [
        HEAD,
        f"On {found['machine']['cores']} cores of {found['machine']['cpu']}, {found['date']}: {counts[0]} hold, "
        f"{counts[1]} differ, {counts[2]} could not be made there"
        f"{', not tried: ' + ', '.join(untried) if untried else ''}.\n",
        "| kind | what happens | expected | outcome | seen |",
        "|---|---|---|---|---|",
    ]
    for kind in kinds:
        if row := rows.get(kind.name):
            seen = row["seen"].replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
            lines.append(f"| `{kind.name}` | {kind.fault} | {kind.expects} | {row['outcome']} | {seen} |")
    if (soak := results.with_name("soak.json")).exists():
        lines += soak_lines(json.loads(soak.read_text(encoding="utf-8")))
    return "\n".join(lines) + "\n"


def soak_lines(found: dict[str, Any]) -> list[str]:
    """The section on the soak."""
    outcomes = ", ".join(f"{count} {name}" for name, count in found["outcomes"].items())
    return [
        "\n## Soak\n",
        "*`make soak MINUTES=30` runs it, `make faults-page` writes it here.*\n",
        f"{found['minutes']:g} minutes on {found['machine']['cores']} cores of {found['machine']['cpu']}, "
        f"{found['date']}: {outcomes}; {found['clients']} clients came and went, {found['updates']} updates.\n",
        found["rule"] + "\n",
        "| process | MiB after warm-up | MiB at the end | growth |",
        "|---|---|---|---|",
        *(
            f"| {name} | {row['before_mib']:.1f} | {row['after_mib']:.1f} | {100 * row['growth']:+.2f} % |"
            for name, row in found["memory"].items()
        ),
        "\n![Memory of each process over time](pictures/soak.svg)",
    ]
