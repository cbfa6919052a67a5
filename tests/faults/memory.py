"""Memory of a server's processes over time: sampled, judged, drawn."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from maskline_serve.server.find_server import STUB
from maskline_serve.server.supervise import children
from support.serving.watched import Watched, cmdline

RULE = (
    "Memory is what a process has resident without pages of files, which others share (RssAnon and RssShmem of "
    "/proc/PID/status; regions in `/dev/shm` count for each process that maps them). Warm-up is the first fifth of the "
    "time: by then every size and load has come several times, and several updates. Growth compares the medians of the "
    "first and the last quarter of what follows: 3 % at most."
)
LARGEST_GROWTH = 0.03
WARM_UP, PART = 0.2, 0.25
WIDTH, HEIGHT, LEFT, BOTTOM, LEGEND = 900, 360, 60, 40, 220
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#17becf")


@dataclasses.dataclass(frozen=True)
class Sample:
    """Memory at one moment.

    Attributes:
        seconds: since the beginning.
        mib: by the name of a process.
    """

    seconds: float
    mib: dict[str, float]


def sample(run: Watched, seconds: float) -> Sample:
    """The memory of `run`, its supervisor, the server and the processes of models."""
    supervisor, server = run.supervisor, run.server
    found = defaultdict(float, {"run": own_mib(run.process.pid), "supervisor": own_mib(supervisor)})
    found["tritonserver"] = own_mib(server)
    for pid in children(server):
        arguments = cmdline(pid).decode(errors="replace").split("\0")
        if Path(arguments[0]).name == STUB:
            model = Path(arguments[1]).parent.parent.name
            name = model.rpartition("-")[0] or model
            found[name] += own_mib(pid)
            for confined in children(pid):
                found[f"{name}: decoding"] += own_mib(confined)
    return Sample(seconds, {name: round(mib, 2) for name, mib in found.items()})


def own_mib(pid: int) -> float:
    """MiB of a process that are no pages of files, which other processes of the machine map too; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) / 1024


def growth(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """By process what it had after warm-up and at the end, and the growth as a share."""
    end = samples[-1].seconds
    warm = [one for one in samples if one.seconds > WARM_UP * end]
    part = max(1, int(PART * len(warm)))
    found = {}
    for name in warm[0].mib:
        before, after = (
            statistics.median(one.mib[name] for one in some if name in one.mib) for some in (warm[:part], warm[-part:])
        )
        found[name] = {
            "before_mib": round(before, 2),
            "after_mib": round(after, 2),
            "growth": round(after / before - 1, 4),
        }
    return found


def has_grown(row: dict[str, float]) -> bool:
    """Whether a row of `growth` is beyond RULE."""
    return row["after_mib"] > (1 + LARGEST_GROWTH) * row["before_mib"]


def picture(samples: Sequence[Sample]) -> str:
    """An SVG: a line a process, MiB over minutes."""
    end, top = samples[-1].seconds, max(max(one.mib.values()) for one in samples) * 1.1
    across, up = (WIDTH - LEFT - LEGEND) / end, (HEIGHT - BOTTOM - 10) / top
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<rect x="{LEFT}" y="10" width="{WARM_UP * end * across:.0f}" height="{HEIGHT - BOTTOM - 10}" fill="#eee"/>',
        f'<text x="{LEFT + 4}" y="24" fill="#666666">warm-up</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y, x = HEIGHT - BOTTOM - share * top * up, LEFT + share * end * across
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - LEGEND}" y1="{y:.0f}" y2="{y:.0f}" stroke="#dddddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{share * top:.0f} MiB</text>')
        lines.append(
            f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{share * end / 60:.1f} min</text>'
        )
    for number, name in enumerate(samples[-1].mib):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{LEFT + one.seconds * across:.1f},{HEIGHT - BOTTOM - one.mib[name] * up:.1f}"
            for one in samples
            if name in one.mib
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        lines.append(f'<text x="{WIDTH - LEGEND + 10}" y="{30 + 18 * number}" fill="{colour}">{name}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
