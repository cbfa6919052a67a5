"""docs/benchmarks/README.md lists what the benchmarks measure: each id that they print, with the target in the code."""

import ast
import re
from pathlib import Path

import pytest
from maskline_bench.device_ops.__main__ import TARGETS_US
from maskline_bench.host_ops import mask_rle, proposal_nms, roi_align

ROOT = Path(__file__).parents[3]
ID = r"\b[CGT]\d+\b"
PAGE = (ROOT / "docs" / "benchmarks" / "README.md").read_text(encoding="utf-8")
ROWS = {
    row[0]: row
    for line in PAGE.splitlines()
    if re.match(rf"\| {ID} \|", line)
    for row in [line.strip("| ").split(" | ")]
}
FILES = sorted((ROOT / "bench").rglob("*.py"))
COMMANDS = {
    "host_ops": "make bench-ops",
    "device_ops": "make bench-device",
    "serving": "make bench-serve",
    "engines": "make bench-engines",
    "steps": "make bench-steps",
    "train_data": "make bench-data",
    "compare": "make compare",
}


def ids_in(path: Path) -> set[str]:
    """Every id in a text of a file, its docstrings included."""
    texts = (n.value for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Constant))
    return {found for text in texts if isinstance(text, str) for found in re.findall(ID, text)}


@pytest.mark.parametrize(
    "path", [path for path in FILES if ids_in(path)], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_each_id_of_a_benchmark_is_in_the_list_with_its_command(path: Path) -> None:
    command = COMMANDS.get(path.parent.name, "make bench-train")
    for name in sorted(ids_in(path)):
        assert name in ROWS, f"{path.relative_to(ROOT)} prints {name}, which docs/benchmarks/README.md does not list"
        assert command in ROWS[name][2], name


def test_each_row_with_a_benchmark_is_printed_by_it() -> None:
    printed = set().union(*map(ids_in, FILES))
    of_benchmarks = {name for name, row in ROWS.items() if re.search("`make (bench-|compare)", row[2])}
    assert {"C1", "C7", "G3", "T0"} <= of_benchmarks
    assert of_benchmarks == printed


def test_the_targets_are_those_of_the_code() -> None:
    stated = {
        **{case.name: list(case.targets.values()) for case in roi_align.CASES},
        "C3": list(proposal_nms.TARGETS.values()),
        "C4": list(mask_rle.TARGETS.values()),
    }
    for name, targets in stated.items():
        assert [float(n) for n in re.findall(r"(\d+) times", ROWS[name][3])] == targets, name
    for name, by_batch in TARGETS_US.items():
        found = re.findall(r"batch (\d+): (\d+) µs", ROWS[name][3])
        assert {int(batch): float(target) for batch, target in found} == by_batch, name


def test_the_pages_name_no_other_id() -> None:
    for page in ("docs/benchmarks/README.md", *(path.relative_to(ROOT) for path in ROOT.glob("plugins/*/README.md"))):
        named = set(re.findall(ID, (ROOT / page).read_text("utf-8")))
        assert named <= set(ROWS), page
