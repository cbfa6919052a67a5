"""The container build files as far as a shell and a reader go: no container is built here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[3] / "triton_repo" / "deploy"
FILES = sorted(DEPLOY.rglob("Containerfile"))
SCRIPTS = sorted(DEPLOY.rglob("launch.sh"))
GIVEN = {"repository", "source", "artifact"}  # what a caller names by --build-context


def stages(file: Path) -> list[list[tuple[str, str]]]:
    """Instructions and their arguments, a list a stage; what comes before the first one left out."""
    text = re.sub(r"^#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    found: list[list[tuple[str, str]]] = []
    for name, arguments in lines:
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, arguments))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.parent.name)
def test_a_shell_reads_every_command(file: Path) -> None:
    commands = [arguments for stage in stages(file) for name, arguments in stage if name == "RUN"]
    assert commands
    for command in commands:
        done = subprocess.run(["sh", "-n"], input=command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), command


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda path: path.parent.name)
def test_a_shell_reads_the_launch_file(file: Path) -> None:
    done = subprocess.run(["sh", "-n", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.parent.name)
def test_pip_is_told_to_install_beside_the_systems_packages_in_every_stage(file: Path) -> None:
    installing = 0
    for stage in stages(file):
        told = False
        for name, arguments in stage:
            told |= (name, arguments) == ("ENV", "PIP_BREAK_SYSTEM_PACKAGES=1")
            if name == "RUN" and "pip install" in arguments:
                installing += 1
                assert told, arguments
    assert installing


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.parent.name)
def test_what_is_copied_comes_from_a_stage_before_or_from_a_context_that_the_file_names(file: Path) -> None:
    known = {name for name in GIVEN if f"--build-context {name}=" in _said(file)}
    for stage in stages(file):
        for name, arguments in stage:
            if name == "COPY":
                sources = re.findall(r"--from=(\w+) ", arguments)
                beside = [name for name in arguments.split()[:-1] if not sources and not (file.parent / name).is_file()]
                assert set(sources) <= known, arguments
                assert not beside, "without --from: files beside the Containerfile"
                assert not re.search(r"[*?\[]", arguments), "a pattern that finds nothing fails in podman"
        known |= set(re.findall(r" AS (\w+)$", stage[0][1]))


def _said(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def test_the_images_are_of_one_release() -> None:
    """TensorRT's image and Triton's of one release have one TensorRT: check_engines.py refuses another."""
    assert len({re.search(r"^ARG (?:TRITON_)?RELEASE=(\S+)$", _said(file), re.MULTILINE)[1] for file in FILES}) == 1
    images = [arguments for file in FILES for stage in stages(file) for name, arguments in stage if name == "FROM"]
    assert {image.split(":")[0] for image in images} == {
        "nvcr.io/nvidia/tritonserver",
        "nvcr.io/nvidia/tensorrt",
        "scratch AS repository",
    }


def test_the_headers_are_found_where_they_are(tmp_path: Path) -> None:
    """The line of the Containerfile, over a folder in the place of the image's."""
    (command,) = (
        arguments.split(" && ")[0]
        for stage in stages(DEPLOY / "tensorrt" / "Containerfile")
        for name, arguments in stage
        if name == "RUN" and "NvInferRuntime.h" in arguments
    )
    (tmp_path / "local" / "tensorrt" / "include").mkdir(parents=True)
    (tmp_path / "local" / "tensorrt" / "include" / "NvInferRuntime.h").touch()
    here = command.replace("/usr/include /usr/local /opt", f"{tmp_path}/local").strip()
    assert here != command.strip()
    done = subprocess.run(["sh", "-c", f'{here} && dirname "$header"'], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{tmp_path}/local/tensorrt/include"
