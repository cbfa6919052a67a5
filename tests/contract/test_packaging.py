"""The wheels: seven packages, the served models inside, no folder name that would become an import name.

One runs wherever Python does, one brings our libraries; `make test-wheel` installs that one and serves with it.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


LIBRARIES = (
    "libmaskline_host.so",
    "libmaskline_ort.so",
    "libtriton_onnxruntime.so",
    "libmaskline_trt.so",
    "libmaskline_triton.so",
)


def build(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    everything = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=everything, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    result = build(out)
    assert result.returncode == 0, result.stderr
    return next(out.glob("maskline-*-py3-none-any.whl"))


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """A folder with files of the libraries' names."""
    folder = tmp_path / "built"
    folder.mkdir()
    for name in LIBRARIES:
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def test_the_wheel_holds_our_packages_and_nothing_else_at_the_top(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    packages = {top for top in tops if not top.endswith(".dist-info")}
    commands = {"maskline", "maskline_train", "maskline_export", "maskline_serve", "maskline_client"}
    assert packages == commands | {
        "maskline_coco",
        "maskline_command",
        "maskline_show",
        "maskline_tiles",
        "maskline_host",
    }


def test_the_wheel_holds_the_web_page(wheel: Path) -> None:
    """Every file of `maskline-client page`, and the style that it shares with the reports."""
    static = ROOT / "client" / "maskline_client" / "page" / "static"
    held = {name.removeprefix("maskline_client/") for name in zipfile.ZipFile(wheel).namelist()}
    files = {f"page/static/{path.name}" for path in static.iterdir()}
    assert {"page/static/index.html", "page/static/main.js", "page/static/page.css"} <= files
    assert files | {"maskline_show/page.css"} <= held


def test_a_wheel_with_libraries_is_found_to_have_them(libraries: Path, tmp_path: Path) -> None:
    """Beside the pure wheel's files, under a tag for one platform; found by the packages without a word."""
    result = build(tmp_path, MASKLINE_WHEEL_LIBRARIES=str(libraries))
    assert result.returncode == 0, result.stderr
    (made,) = tmp_path.glob("maskline-*-py3-none-linux_x86_64.whl")
    zipfile.ZipFile(made).extractall(tmp_path / "packages")
    code = (
        "from maskline_host import library; from maskline_export.engine import plugin_library\n"
        "print(library.library_path(), library.custom_ops_path(), library.backend_path())\n"
        "print(plugin_library.find(None), plugin_library.find(None).with_name(plugin_library.SHIM))"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(tmp_path / "packages"), "PATH": ""}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    places = [Path(word) for word in done.stdout.split()]
    assert [place.parent for place in places] == [tmp_path / "packages" / "maskline_host"] * 5
    assert [place.read_text(encoding="utf-8") for place in places] == list(LIBRARIES)


def test_a_wheel_whose_libraries_are_not_all_built_is_not_made(libraries: Path, tmp_path: Path) -> None:
    (libraries / LIBRARIES[1]).unlink()
    result = build(tmp_path, MASKLINE_WHEEL_LIBRARIES=str(libraries))
    assert result.returncode != 0
    assert f"$MASKLINE_WHEEL_LIBRARIES: got {libraries} without {LIBRARIES[1]}, expected libmaskline" in result.stderr
    assert not [*tmp_path.glob("*.whl")]


def test_a_pure_wheel_holds_no_library_and_says_so(wheel: Path, tmp_path: Path) -> None:
    """For every machine: what is compiled is not in it, and nothing but its speed is missing."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "packages")
    code = (
        "import numpy, maskline_host; from maskline_host import mask_rle; print(maskline_host.library_path())\n"
        "try: mask_rle.encode(numpy.zeros((1, 2, 2), numpy.float32), [[0, 0, 1, 1]], (2, 2))\n"
        "except maskline_host.HostLibraryError as error: print(error)"
    )
    environment = {"PYTHONPATH": str(tmp_path / "packages"), "PATH": ""}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    path, error = said.splitlines()
    assert path == "None"
    assert error.startswith("libmaskline_host.so: not found; install the wheel for Linux, build it by `make plugins`")


def test_an_installed_wheel_can_assemble_a_repository(wheel: Path, tmp_path: Path) -> None:
    """The unpacked wheel finds every model, linked folders included, without the checkout."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = """if True:
        from maskline_serve.repository.assemble import Target, deploy_files, sources
        print(*sources(), deploy_files(Target.TENSORRT), deploy_files(Target.ONNXRUNTIME_GPU))"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    models, backends, *deploys = map(Path, result.stdout.split())
    assert models.is_relative_to(tmp_path)
    relative = {path.relative_to(ROOT / "triton_repo" / "models") for path in served_files("models")}
    assert {path.relative_to(models) for path in models.rglob("*") if path.is_file()} == relative
    written = {path.name for path in (ROOT / "triton_repo" / "backends" / "onnxruntime").glob("*.py")}
    assert {path.name for path in (backends / "onnxruntime").iterdir()} == written
    assert {"model.py", "external_data.py"} <= written
    assert "def refuse_external_data" in (backends / "onnxruntime" / "external_data.py").read_text(encoding="utf-8")
    for deploy in deploys:
        assert deploy.is_relative_to(tmp_path)
        assert sorted(path.name for path in deploy.iterdir()) == ["Containerfile", "launch.sh"]


def served_files(folder: str) -> list[Path]:
    """The files of the checkout, through links, without bytecode."""
    found = []
    for model in sorted((ROOT / "triton_repo" / folder).iterdir()):
        for path in model.iterdir():
            found += path.rglob("*") if path.is_dir() else [path]
    return [path for path in found if path.is_file() and path.suffix != ".pyc"]


def test_the_four_commands_are_declared(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    text = archive.read(entry_points).decode()
    for name, module in {"train": "__main__", "export": "__main__", "serve": "cli", "client": "commands.main"}.items():
        assert f"maskline-{name} = maskline_{name}.{module}:main" in text
