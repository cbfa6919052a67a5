"""What engines are served with: plugin libraries, the check, the launch file, the container build file."""

from __future__ import annotations

import shutil
from pathlib import Path

from maskline_serve.repository.cuda_pool import pool_bytes
from maskline_serve.repository.tensorrt import check_engines
from maskline_serve.repository.tensorrt.engines import Engines

POOL_BATCHES = 2  # whose tensors are alive at once, since requests overlap


def write(engines: Engines, folder: Path, deploy: Path) -> None:
    """Put it into a repository.

    Args:
        engines: what is served.
        folder: the repository.
        deploy: where the reviewed files lie.
    """
    if engines.plugins:
        (folder / "plugins").mkdir()
        for name, path in engines.plugins.items():
            shutil.copyfile(path, folder / "plugins" / name)
    shutil.copyfile(Path(check_engines.__file__), folder / "check_engines.py")
    shutil.copyfile(deploy / "Containerfile", folder / "Containerfile")
    pool = str(pool_bytes(engines.pool_bytes, POOL_BATCHES))
    text = (deploy / "launch.sh").read_text(encoding="utf-8").replace("@POOL_BYTES@", pool)
    (folder / "launch.sh").write_text(text, encoding="utf-8")
    (folder / "launch.sh").chmod(0o755)
