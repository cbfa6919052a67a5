"""Replaces a model in a running server, so that no request is lost and none is answered by two versions.

The new steps are loaded beside the old ones, under their own names, with ensembles that nobody calls; the canary goes
through these. Then the public ensembles are loaded anew: Triton answers by the old one until the new one can. At last
the old steps are unloaded, once the requests that they have are answered. What fails before the switch leaves
everything as it was; what fails in it switches back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

from maskline_serve import doctor
from maskline_serve.errors import RepositoryError, ServeError
from maskline_serve.repository import config, names
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import canary
from maskline_serve.server.live.control import ModelControl
from maskline_serve.server.live.folder import LiveFolder, check_tagged
from maskline_serve.server.several import same_backends

CLEARING_SECONDS = 60.0  # for loads that nobody waits for any more, and for processes of models to end


@dataclasses.dataclass(frozen=True)
class Updated:
    """What an update did.

    Attributes:
        before: the revision that was public; empty where the name is new to the server; None where nothing was done.
        objects: detections of the canary image.
        loading_s: until the new version was proven.
        switching_s: from then on until every request went to it.
        draining_s: until the old version was gone.
        lingering: models of the old version that still had requests when the time for that was over.
    """

    before: str | None
    objects: int = 0
    loading_s: float = 0.0
    switching_s: float = 0.0
    draining_s: float = 0.0
    lingering: tuple[str, ...] = ()


def update(
    repository: Repository, live: LiveFolder, control: ModelControl, show: Callable[[str], None], drain_s: float
) -> Updated:
    """Make a repository the one that is served under its name, or add it where the server has none of that name.

    Args:
        repository: what to serve.
        live: the server's folder of models.
        control: of the server.
        show: told what is being done.
        drain_s: how long the old version's requests are waited for; they are answered even then, but its files go.

    Raises:
        RepositoryError: it cannot be served beside what is there.
        ModelNotLoadedError, ServerFailedError: it does not load, or its canary came back wrong: the old one serves on.
        ServeError: another update is running.
    """
    with live.changing():
        served = live.served()
        old = served.get(repository.name)
        _check(repository, served)
        _clear_away(live, control)  # what an update that was killed left
        if old is not None and old.revision == repository.revision:
            return Updated(before=None)
        start = time.monotonic()
        with _cleaning_up(live, control):
            show(f"loading {repository.name} {repository.revision} beside {old.revision if old else 'the others'}")
            live.add_steps(repository)
            for candidate in live.add_candidates(repository):
                control.load(candidate)
            canary_of = names.tagged(repository.name, repository.revision)
            objects = canary.check(control.client, repository, canary.DEADLINE_S, canary_of)
            proven = time.monotonic()
            show("the canary image came back right; switching")
            _switch(repository, live, control)
        switched = time.monotonic()
        show("every request goes to the new version; waiting for those of the old one" if old else "it answers")
        lingering = _sweep(live, control, drain_s)
        end = time.monotonic()
    return Updated(
        old.revision if old else "", objects, proven - start, switched - proven, end - switched, tuple(lingering)
    )


def _check(repository: Repository, served: dict[str, Repository]) -> None:
    """Raise RepositoryError unless a repository can be served by a server that serves these."""
    check_tagged(repository)
    findings, _ = doctor.of_repository(repository)
    if wrong := next((found for found in findings if found.level is doctor.Level.ERROR), None):
        raise RepositoryError(f"{repository.folder}: {wrong.check}: {wrong.detail}")
    if not all(same_backends(other, repository) for other in served.values()):
        raise RepositoryError(
            f"{repository.folder}: got another target or backend than the server runs, expected the same; stop the "
            "server and start it with this repository"
        )


def _switch(repository: Repository, live: LiveFolder, control: ModelControl) -> None:
    """Point the public ensembles at the new steps; back to the old ones where that fails."""
    before = live.texts(repository.name)
    changed: list[str] = []
    try:
        for ensemble in names.ensembles(repository.name):
            changed.append(ensemble)
            live.write_config(ensemble, (repository.models / ensemble / "config.pbtxt").read_text(encoding="utf-8"))
            control.load(ensemble)
        live.describe(repository)
    except BaseException:
        for ensemble in changed:
            with contextlib.suppress(ServeError):
                if ensemble in before:
                    live.write_config(ensemble, before[ensemble])
                    control.load(ensemble)
                else:
                    control.unload(ensemble)
        raise


@contextlib.contextmanager
def _cleaning_up(live: LiveFolder, control: ModelControl) -> Iterator[None]:
    """Within: what fails, Ctrl-C included, leaves no model of the new version behind, in the server or on the disk."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ServeError):
            _clear_away(live, control)
        raise


def _clear_away(live: LiveFolder, control: ModelControl) -> None:
    """Leave nothing of a version that never became public, in the server or on the disk."""
    # A load goes on in the server when who asked for it is gone; one whose files go meanwhile would stand as failed.
    control.wait_while("LOADING", live.left_over(), CLEARING_SECONDS)
    _forget_failures(live, control)
    _sweep(live, control, CLEARING_SECONDS)


def _forget_failures(live: LiveFolder, control: ModelControl) -> None:
    """Let no model stand as failed: Triton would not be ready any more, as long as nothing loads under its name.

    What loads at once, everywhere, is an ensemble of steps that are loaded already.
    """
    public = live.ensembles()[0]
    text = (live.models / public / "config.pbtxt").read_text(encoding="utf-8")
    steps = {step.model_name: step.model_name for step in config.parse(text, public).ensemble_scheduling.step}
    failed = {model for model, state in control.states().items() if state == "UNAVAILABLE"}
    for model in failed & set(live.left_over()):
        live.remove(model)
        live.write_config(model, config.with_names(text, {**steps, public: model}, model))
        control.load(model)


def _sweep(live: LiveFolder, control: ModelControl, drain_s: float) -> list[str]:
    """Unload and remove what is not public and no part of what is; returns what still had requests after `drain_s`."""
    models = live.left_over()
    for model in models:
        control.unload(model)
    lingering = control.wait_while("UNLOADING", models, drain_s)
    for model in models:
        live.remove(model)
    return lingering
