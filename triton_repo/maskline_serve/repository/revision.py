"""The revision of a repository: what its models are named by, so that two versions never meet in one server."""

from __future__ import annotations

import hashlib
from pathlib import Path

from maskline_serve.repository import config, names
from maskline_serve.repository.description import sha256
from maskline_serve.repository.on_disk import files_in

REVISION = "revision"  # the parameter of the ensembles
_CONFIGS = ("config.pbtxt", "configs/*.pbtxt")


def revision_of(folder: Path, name: str) -> str:
    """The tag for a repository whose files are written, its models still named as the reviewed configs name them.

    Args:
        folder: the repository.
        name: of its public ensemble.

    Returns:
        12 hexadecimal digits of a hash of the name and of every file: networks, code, libraries and configs.
    """
    found = hashlib.sha256(name.encode())
    for path in files_in(folder):
        found.update(f"\n{path.relative_to(folder).as_posix()} {sha256(path)}".encode())
    return found.hexdigest()[: names.TAG_DIGITS]


def rename_models(folder: Path, name: str, tag: str) -> None:
    """Give the models of a repository that is being written the names they are served by.

    Args:
        folder: the repository.
        name: of its public ensemble.
        tag: what `revision_of` said.

    Raises:
        RepositoryError: the text of a config cannot be changed in place.
    """
    models = folder / "models"
    renaming = names.renaming((path.name for path in models.iterdir()), name, tag)
    for old, new in renaming.items():
        for path in (file for pattern in _CONFIGS for file in sorted((models / old).glob(pattern))):
            where = path.relative_to(folder).as_posix()
            text = config.with_names(path.read_text(encoding="utf-8"), renaming, where)
            if old in names.ENSEMBLES:
                text = config.with_parameter(text, REVISION, tag, where)
            path.write_text(text, encoding="utf-8")
        (models / old).rename(models / new)
