"""The structure of the code, measured: files a folder, imports between files, circles, the longest files.

Run: python tests/support/structure/house.py [CHECKOUT]
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

# Where our Python packages lie; imports are followed among their files.
PACKAGE_ROOTS = ("train", "export", "triton_repo", "client", "plugins", "line")
CODE = {".py", ".h", ".cpp", ".cu", ".cuh"}


def tracked(root: Path) -> list[Path]:
    """Every file that git knows below `root`, relative to it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
    return [Path(name) for name in listed.stdout.split("\0") if name and (root / name).is_file()]


def files_a_folder(files: list[Path]) -> Counter[Path]:
    """How many files lie in each folder, sub-folders not counted."""
    return Counter(path.parent for path in files)


def modules(files: list[Path]) -> dict[str, Path]:
    """The dotted name of every file of our packages."""
    found = {}
    for path in files:
        if path.suffix == ".py" and path.parts[0] in PACKAGE_ROOTS and path.parts[1].startswith("maskline"):
            parts = path.with_suffix("").parts[1:]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(root: Path, files: list[Path]) -> set[tuple[str, str]]:
    """(importing module, imported module), imports inside functions included."""
    known = modules(files)
    found = set()
    for name, path in known.items():
        for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
            found |= {(name, target) for target in _targets(node, known) if target != name}
    return found


def _targets(node: ast.AST, known: dict[str, Path]) -> set[str]:
    """Modules of ours that an import statement names: the module itself, and sub-modules imported from a package."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & known.keys()
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        submodules = {f"{node.module}.{alias.name}" for alias in node.names} & known.keys()
        rest = len(submodules) < len(node.names)
        return submodules | ({node.module} & known.keys() if rest else set())
    return set()


def circles(found: set[tuple[str, str]]) -> list[str]:
    """Modules that import themselves by way of others."""
    reach = {start: {end for begin, end in found if begin == start} for start, _ in found}
    changed = True
    while changed:
        changed = False
        for ends in reach.values():
            more = set().union(*(reach.get(end, set()) for end in ends)) - ends if ends else set()
            ends |= more
            changed |= bool(more)
    return sorted(name for name, ends in reach.items() if name in ends)


def longest(root: Path, files: list[Path], count: int) -> list[tuple[int, Path]]:
    """The longest files of code outside tests, in lines."""
    code = [path for path in files if path.suffix in CODE and path.parts[0] != "tests"]
    return sorted(((len((root / path).read_bytes().splitlines()), path) for path in code), reverse=True)[:count]


def report(root: Path) -> list[str]:
    """The measurements as lines of text."""
    files = tracked(root)
    folders, found = files_a_folder(files), arrows(root, files)
    over = sum(number > 15 for number in folders.values())
    return [
        f"{len(files)} files in {len(folders)} folders, {over} of them with more than 15; the fullest:",
        *(f"  {number:3} {folder}" for folder, number in folders.most_common(16)),
        f"{len(modules(files))} modules, {len(found)} imports between them, in circles: {circles(found) or 'none'}",
        "the longest files, in lines:",
        *(f"  {lines:3} {path}" for lines, path in longest(root, files, 5)),
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(report(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())) + "\n")
