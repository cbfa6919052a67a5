"""The models of an assembled repository by what they are, for tests that look into one or change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskline_serve.repository import config
from maskline_serve.repository.names import word_of


def model_of(repository: Path, word: str) -> Path:
    """The folder of the model that is `word`, e.g. `backbone`, whatever tag its name has."""
    (found,) = (path for path in (repository / "models").iterdir() if word_of(path.name) == word)
    return found


def name_of(repository: Path, word: str) -> str:
    """The name by which a server knows the model that is `word`."""
    return model_of(repository, word).name


def config_in_words(repository: Path, word: str) -> Any:
    """A model's ModelConfig with words for its own name and those of its steps, to be compared across repositories."""
    path = model_of(repository, word) / "config.pbtxt"
    found = config.parse(path.read_text(encoding="utf-8"), path)
    found.name = word_of(found.name)
    for step in found.ensemble_scheduling.step:
        step.model_name = word_of(step.model_name)
    found.parameters.pop("revision", None)
    return found
