"""Too low a limit of open files is called by its name, and raised where it may be."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from maskline_serve.server.process import OPEN_FILES, claim_open_files

RUN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from maskline_serve.cli import main
sys.argv = ["maskline-serve", "run", sys.argv[1], "--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
main()
"""


@pytest.mark.triton
def test_a_limit_that_is_too_low_is_no_port_in_use(repository: Path) -> None:
    command = [sys.executable, "-c", RUN, str(repository)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"maskline-serve: open files: got a limit of 64, expected {OPEN_FILES} or more; raise it "
        f"(`ulimit -n {OPEN_FILES}`)"
    )


def test_a_low_limit_is_raised_where_it_may_be() -> None:
    code = (
        "import resource; from maskline_serve.server.process import claim_open_files\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))\n"
        "claim_open_files(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert int(said) == OPEN_FILES
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[0] >= OPEN_FILES:
        claim_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
