"""Several repositories in one server: what must be equal in them, what must differ, and what they need together."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from maskline_serve.errors import RepositoryError
from maskline_serve.repository.on_disk import Repository

_BACKENDS = "backends/"


def load_together(folders: Sequence[Path]) -> tuple[Repository, ...]:
    """The repositories of these folders, for one server.

    Raises:
        RepositoryError: one is none, or they cannot be served together.
    """
    repositories = tuple(Repository.load(folder) for folder in folders)
    check_together(repositories)
    return repositories


def check_together(repositories: Sequence[Repository]) -> None:
    """Raise RepositoryError where two repositories cannot be served by one server."""
    for one, other in itertools.combinations(repositories, 2):
        if one.name == other.name:
            raise RepositoryError(
                f"{other.folder}: got the name {other.name}, which {one.folder} has too; "
                "assemble one of them with `--name`"
            )
        if not (one.revision and other.revision):
            raise RepositoryError(
                f"{other.folder} and {one.folder}: got models without a tag, expected those of this release, which "
                "several in a server need; assemble both again"
            )
        if not same_backends(one, other):
            raise RepositoryError(
                f"{other.folder}: got another target or backend ({other.target}, release {other.maskline}) than "
                f"{one.folder} ({one.target}, release {one.maskline}), expected the same, of which a server has one; "
                "assemble both by one release on one machine"
            )


def same_backends(one: Repository, other: Repository) -> bool:
    """Whether one server can run both: it has one backend of a name, and one library of ops."""
    return one.target == other.target and _backends(one) == _backends(other)


def _backends(repository: Repository) -> dict[str, str]:
    """Path -> hash of the repository's own backends and libraries for engines."""
    return {name: hashed for name, hashed in repository.files.items() if name.startswith((_BACKENDS, "plugins/"))}


def pool_bytes(repositories: Iterable[Repository]) -> dict[int, int]:
    """Number of a card -> what a server reserves on it for tensors between the steps of all repositories."""
    found: collections.Counter[int] = collections.Counter()
    for repository in repositories:
        for card in repository.gpu.get("cards", ()):
            found[card] += repository.gpu["pool_bytes"]
    return dict(found)
