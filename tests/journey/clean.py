"""An environment with nothing but an installed wheel, in a folder away from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO


class JourneyError(Exception):
    """Something on the way was otherwise than a user may expect."""


def run(command: list[str], **options: object) -> str:
    """What a command prints.

    Raises:
        JourneyError: it failed; the text is all that it said.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise JourneyError(f"{' '.join(command)}: got exit status {done.returncode}, expected 0:\n{done.stdout}")
    return str(done.stdout)


class CleanEnvironment:
    """A virtual environment in `folder`, whose commands run there and see no more than a new user's would.

    Attributes:
        folder: what they see as the current folder and as home.
        path: their PATH: the environment, and the bash by which Triton's Python backend starts its processes.
        packages: where the installed packages are.
    """

    def __init__(self, folder: Path) -> None:
        """Make the environment."""
        self.folder = folder
        self._env = folder / "env"
        run([sys.executable, "-m", "venv", str(self._env)])
        tools = folder / "tools"
        tools.mkdir()
        (tools / "bash").symlink_to(shutil.which("bash") or "/bin/bash")
        self.path = f"{self._env / 'bin'}:{tools}"
        (self.packages,) = self._env.glob("lib/python3.*/site-packages")

    def install(self, wheel: Path, extra: str, constraints: Path) -> None:
        """Install the wheel with pip as this machine configures it; what would have to be compiled is refused."""
        pip = [str(self._env / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # Compiling the bytecode takes longer than what it saves here.
        options = ["--only-binary", ":all:", "--no-compile", "--constraint", str(constraints)]
        run([*pip, *options, f"{wheel}[{extra}]"], cwd=self.folder)

    def run(self, program: str, *arguments: str) -> str:
        """What a command of the environment prints; JourneyError where it fails."""
        return run([str(self._env / "bin" / program), *arguments], cwd=self.folder, env=self._variables())

    def start(self, log: IO[str], program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a command of the environment, and let it write to `log`."""
        command = [str(self._env / "bin" / program), *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=self._variables(), stdout=log, stderr=subprocess.STDOUT, text=True
        )

    def _variables(self) -> dict[str, str]:
        home = str(self.folder)
        return {"PATH": self.path, "HOME": home, "TMPDIR": home, "COLUMNS": "400"}
