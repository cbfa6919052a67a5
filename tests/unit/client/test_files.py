"""Whole files: two processes that write one name do not write into each other's."""

import subprocess
import sys
from pathlib import Path

from maskline_client.files import replacing

OTHER = """
import sys
from pathlib import Path
from maskline_client.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("theirs")
"""


def test_two_processes_that_write_one_name_end_with_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with replacing(path) as temporary:
        temporary.write_text("ours, ")
        subprocess.run([sys.executable, "-c", OTHER, str(path)], check=True)
        assert path.read_text() == "theirs"
        with temporary.open("a") as file:
            file.write("all of it")
    assert path.read_text() == "ours, all of it"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
