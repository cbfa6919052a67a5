"""pyproject.toml says the oldest version of a package once, and every other list of versions keeps to it."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONTAINERFILES = sorted((ROOT / "triton_repo" / "deploy").rglob("Containerfile"))


def requirements(extras: set[str]) -> list[Requirement]:
    """What the packages need with these extras, the extras that these refer to included."""
    lines = list(PROJECT["dependencies"])
    seen: set[str] = set()
    while extras - seen:
        extra = (extras - seen).pop()
        seen.add(extra)
        lines += PROJECT["optional-dependencies"][extra]
        extras = extras.union(*(Requirement(line).extras for line in lines if Requirement(line).name == "maskline"))
    return [found for found in map(Requirement, lines) if found.name != "maskline"]


def floors() -> dict[str, str]:
    """Package -> its floor, of everything that any extra asks for."""
    found = requirements(set(PROJECT["optional-dependencies"]))
    return {
        canonicalize_name(one.name): part.version for one in found for part in one.specifier if part.operator == ">="
    }


def pinned() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def test_every_tested_version_is_one_that_we_allow() -> None:
    """`all` is what `make env` installs under the constraints."""
    wrong = [
        f"{one}, constraints.txt: {pinned().get(canonicalize_name(one.name))}"
        for one in requirements({"all"})
        if canonicalize_name(one.name) not in pinned() or pinned()[canonicalize_name(one.name)] not in one.specifier
    ]
    assert wrong == []


def test_every_package_has_one_floor_and_no_second() -> None:
    found = requirements(set(PROJECT["optional-dependencies"]))
    with_floor = [canonicalize_name(one.name) for one in found if any(part.operator == ">=" for part in one.specifier)]
    assert len(with_floor) > 20
    assert len(with_floor) == len(set(with_floor))
    assert {canonicalize_name(one.name) for one in found} == set(with_floor)


def test_the_containers_install_what_we_allow() -> None:
    assert len(CONTAINERFILES) == 3
    for path in CONTAINERFILES:
        named = re.findall(r'"([\w.-]+)(?:\[\w+\])?>=([\w.]+)"', path.read_text(encoding="utf-8"))
        assert len(named) >= 2
        assert dict(named) == {name: floors()[name] for name, _ in named}, path
