"""The folder of models that a server under explicit model control serves, and that updates change.

    LIVE/models/<name>/...                 what Triton reads: copies, so that a repository may be replaced or removed
    LIVE/repositories/<name>/repository.json   what each of them was assembled of
    LIVE/lock                              held by whoever changes it

Triton looks at a model here only when it is told to load it.
"""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from maskline_serve.errors import RepositoryError, ServeError
from maskline_serve.repository import config, names
from maskline_serve.repository.on_disk import FILE, Repository

_CONFIG = "config.pbtxt"


def check_tagged(repository: Repository) -> None:
    """Raise RepositoryError where the steps of a repository have no tag."""
    if not repository.revision:
        raise RepositoryError(
            f"{repository.folder}: got steps without a tag, of release {repository.maskline}, expected those of "
            "this one; assemble the repository again"
        )


class LiveFolder:
    """What is served, and what is about to be.

    Attributes:
        folder: where it is.
        models: its part for `--model-repository`.
    """

    def __init__(self, folder: Path) -> None:
        """A folder that is there, or will be once something is put into it."""
        self.folder, self.models = folder, folder / "models"

    def served(self) -> dict[str, Repository]:
        """Name -> the repository whose models are public under it; of these `repository.json` alone is there."""
        folders = sorted((self.folder / "repositories").glob(f"*/{FILE}"))
        return {path.parent.name: Repository.load(path.parent) for path in folders}

    def ensembles(self) -> list[str]:
        """The public ensembles of all that is served."""
        return [ensemble for name in self.served() for ensemble in names.ensembles(name)]

    def add_steps(self, repository: Repository) -> None:
        """Copy the steps of a repository: beside those of others, since no two have a name in common."""
        public = names.ensembles(repository.name)
        for source in sorted(repository.models.iterdir()):
            if source.name not in public:
                shutil.copytree(source, self.models / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        # Python would write its bytecode beside the code, and Triton take that for a change and load the step anew.
        compileall.compile_dir(self.models, quiet=2)

    def add_candidates(self, repository: Repository) -> list[str]:
        """The ensembles of a repository under names of their own, which nobody calls yet; returns these."""
        made = []
        for ensemble in names.ensembles(repository.name):
            text = (repository.models / ensemble / _CONFIG).read_text(encoding="utf-8")
            candidate = names.tagged(ensemble, repository.revision)
            steps = {step.model_name: step.model_name for step in config.parse(text, ensemble).ensemble_scheduling.step}
            self.write_config(candidate, config.with_names(text, {**steps, ensemble: candidate}, candidate))
            made.append(candidate)
        return made

    def texts(self, name: str) -> dict[str, str]:
        """The configs of the public ensembles that are served under a name; none where there is none."""
        paths = {ensemble: self.models / ensemble / _CONFIG for ensemble in names.ensembles(name)}
        return {ensemble: path.read_text(encoding="utf-8") for ensemble, path in paths.items() if path.is_file()}

    def write_config(self, model: str, text: str) -> None:
        """Write the config of a model without files of its own, whole, and the version folder that Triton wants of it.

        It counts from the model's next load on.
        """
        folder = self.models / model
        (folder / "1").mkdir(parents=True, exist_ok=True)
        new = folder / f".{_CONFIG}"
        new.write_text(text, encoding="utf-8")
        new.replace(folder / _CONFIG)

    def describe(self, repository: Repository) -> None:
        """Note what is public under the name of a repository from now on."""
        folder = self.folder / "repositories" / repository.name
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{FILE}"
        shutil.copyfile(repository.folder / FILE, new)
        new.replace(folder / FILE)

    def fill(self, *repositories: Repository) -> None:
        """Put repositories into an empty folder, for a server that is about to start.

        Raises:
            RepositoryError: the steps of one have no tag, so that another version could never stand beside them.
        """
        self.models.mkdir(parents=True)
        for repository in repositories:
            check_tagged(repository)
            self.add_steps(repository)
            for ensemble in names.ensembles(repository.name):
                self.write_config(ensemble, (repository.models / ensemble / _CONFIG).read_text(encoding="utf-8"))
            self.describe(repository)

    def left_over(self) -> list[str]:
        """Models that no public ensemble is or runs: of a version that was replaced, or never became public."""
        ensembles = self.ensembles()
        wanted = set(ensembles)
        for ensemble in ensembles:
            parsed = config.parse((self.models / ensemble / _CONFIG).read_text(encoding="utf-8"), ensemble)
            wanted |= {step.model_name for step in parsed.ensemble_scheduling.step}
        # Ensembles first: Triton lets go of a step once no ensemble runs it.
        return sorted((path.name for path in self.models.iterdir() if path.name not in wanted), key=self._is_step)

    def remove(self, model: str) -> None:
        """Take a model away."""
        shutil.rmtree(self.models / model, ignore_errors=True)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """While it is changed, by one at a time.

        Raises:
            ServeError: somebody else is changing it.
        """
        with (self.folder / "lock").open("w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ServeError(
                    f"{self.folder} is being updated by another process; wait until that is done"
                ) from None
            yield

    def _is_step(self, model: str) -> bool:
        return not (self.models / model / "1").is_dir() or any((self.models / model / "1").glob("model.*"))
