"""Whether a repository is still what was assembled: people tune a config.pbtxt, and nothing else."""

from __future__ import annotations

from maskline_serve.errors import RepositoryError
from maskline_serve.repository.on_disk import Repository


def differences(repository: Repository) -> tuple[dict[str, str], dict[str, str]]:
    """What a person may have meant, and what would serve other answers or none: path -> `missing`, ... (`changes`)."""
    meant: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for name, change in repository.changes().items():
        # People tune a config.pbtxt by hand; a changed network or model.py is another matter.
        tuned = change == "added" or (change == "changed" and name.endswith("config.pbtxt"))
        (meant if tuned else wrong)[name] = change
    return meant, wrong


def check(repository: Repository) -> list[str]:
    """Refuse a damaged repository; returns lines about what was changed by hand.

    Raises:
        RepositoryError: a file other than a config is missing or changed.
    """
    meant, wrong = differences(repository)
    if wrong:
        name, change = next(iter(wrong.items()))
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise RepositoryError(
            f"{repository.folder}: {name} is {change}{more}, expected it as assembled; "
            "`maskline-serve doctor` names all, `maskline-serve assemble --force` writes them anew"
        )
    return [f"{repository.folder}: {name} is {change}" for name, change in meant.items()]
