"""Where the plugin library is looked for, what NVIDIA's own registry says of it, and what is told when it is wrong."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import maskline_host.library
import pytest
from maskline_export.engine import plugin_library
from maskline_export.errors import EngineBuildError
from maskline_export.manifest import sha256

BUILD = Path(os.environ.get("MASKLINE_PLUGINS_BUILD", Path(__file__).parents[4] / "build" / "plugins"))
LIBRARY = BUILD / plugin_library.FILE

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx-cu13 is not installed"
)
needs_library = pytest.mark.skipif(not LIBRARY.is_file(), reason=f"{LIBRARY} is not built; run `make plugins`")

LOAD = (
    "import sys; from pathlib import Path; import tensorrt_rtx as trt\n"
    "from maskline_export.engine import plugin_library\n"
    "for time in range(2): plugin_library.load(trt, Path(sys.argv[1]), sys.argv[2:])\n"
    "print(*sorted(plugin_library.creators(trt)))"
)


def load(library: Path, *needed: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: a registry keeps what it loaded, and a bad library may end the process."""
    return subprocess.run(
        [sys.executable, "-c", LOAD, library, *needed], capture_output=True, text=True, check=False, timeout=60
    )


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(plugin_library.VARIABLE, raising=False)
    with pytest.raises(EngineBuildError, match=r"build/plugins/libmaskline_trt\.so: .*default place.*make plugins"):
        plugin_library.find(None)
    places = [tmp_path / "build" / "plugins" / plugin_library.FILE, tmp_path / "named.so", tmp_path / "given.so"]
    places[0].parent.mkdir(parents=True)
    for place in places:
        place.write_bytes(b"")
    assert plugin_library.find(None) == places[0]
    installed = tmp_path / "installed" / plugin_library.FILE
    installed.parent.mkdir()
    installed.write_bytes(b"")
    monkeypatch.setattr(maskline_host.library, "_HERE", installed.parent)
    assert plugin_library.find(None) == installed
    monkeypatch.setenv(plugin_library.VARIABLE, str(places[1]))
    assert plugin_library.find(None) == places[1]
    assert plugin_library.find(places[2]) == places[2]
    places[1].unlink()
    with pytest.raises(EngineBuildError, match=r"named\.so: .*\$MASKLINE_PLUGIN_LIBRARY"):
        plugin_library.find(None)
    with pytest.raises(EngineBuildError, match=r"gone\.so: .*--plugin-library\)"):
        plugin_library.find(tmp_path / "gone.so")


def test_what_engines_are_served_with_is_copied_under_the_names_they_look_for(tmp_path: Path) -> None:
    library = tmp_path / "mine.so"
    library.write_bytes(b"plugins")
    assert [file.file for file in plugin_library.copy_into(tmp_path / "alone", library)] == [plugin_library.FILE]
    library.with_name(plugin_library.SHIM).write_bytes(b"shim")
    files = plugin_library.copy_into(tmp_path / "both", library)
    assert [file.file for file in files] == [plugin_library.FILE, plugin_library.SHIM]
    assert [file.sha256 for file in files] == [sha256(library), sha256(library.with_name(plugin_library.SHIM))]
    assert (tmp_path / "both" / plugin_library.FILE).read_bytes() == b"plugins"


@needs_rtx
@needs_library
def test_nvidias_registry_loads_it_and_lists_our_plugins() -> None:
    done = load(LIBRARY, "MultiscaleRoIAlign", "ProposalNMS", "ClasswiseNMS")
    assert done.returncode == 0, done.stderr
    assert {"MultiscaleRoIAlign", "ProposalNMS", "ClasswiseNMS"} <= set(done.stdout.split())


@needs_rtx
@needs_library
def test_a_library_without_a_plugin_that_is_needed() -> None:
    done = load(LIBRARY, "MultiscaleRoIAlign", "KeypointPaste")
    assert "got no plugin KeypointPaste of version 1 in namespace 'maskline'" in done.stderr
    assert "it has ClasswiseNMS" in done.stderr


@needs_rtx
def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "broken.so").write_bytes(b"nothing")
    done = load(tmp_path / "broken.so", "MaskRLE")
    assert "does not load it; build it with `make plugins`" in done.stderr
