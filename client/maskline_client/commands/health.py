"""Is the server able to answer? Each question by itself, so that the first "no" says where to look."""

from __future__ import annotations

import dataclasses
import functools
import io
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from PIL import Image

from maskline_client.calling.served_names import says_unknown, served_names
from maskline_client.connection import Connection
from maskline_client.contract import DEFAULT_MODEL, ENSEMBLES, MASKRCNN_BOXES, STEPS, EnsembleSpec, word_of
from maskline_client.detections import Detections
from maskline_client.detector import Detector
from maskline_client.errors import ClientError, ContractMismatch, ServerUnavailable
from maskline_client.served_model import read_model

_CANARY_SIZE = (96, 128)  # (height, width); not square, so that a mix-up of the two shows


@dataclasses.dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes:
        name: the question, e.g. "model backbone".
        detail: what was found.
        error: None when all is well.
        duration_ms: how long the answer took.
    """

    name: str
    detail: str
    error: ClientError | None
    duration_ms: float


def check_server(connection: Connection, *, deep: bool, model: str | None = None) -> Iterator[Check]:
    """Ask a server, most basic question first; ends after the first answer that makes the rest meaningless.

    Args:
        connection: how to reach it; every question has its deadline.
        deep: also send a small image and check the answer. Triton stays "ready" when a model's process has died,
            so only this tells that images are answered.
        model: name of the model to ask about; None: each one that the server serves.

    Yields:
        live, ready, and of each model: its steps, its ensembles, the contract of each, and the canary when `deep`.
    """
    with triton.InferenceServerClient(**connection.client_arguments()) as client:
        live = _ask("live", connection, functools.partial(_is_true, client.is_server_live, connection))
        yield live
        if live.error is not None:
            return
        yield _ask("ready", connection, functools.partial(_is_true, client.is_server_ready, connection))
        names = (model,) if model is not None else _names(client, connection)
        for name in names:
            yield from _check_model(client, connection, name)
    for name in names if deep else ():
        yield _ask(f"canary {name}", connection, functools.partial(_canary, connection, name))


def _check_model(client: triton.InferenceServerClient, connection: Connection, model: str) -> Iterator[Check]:
    """The steps and the ensembles of one model."""
    specs = tuple(
        spec for spec in ENSEMBLES if spec is not MASKRCNN_BOXES or _has(client, connection, spec.named(model))
    )
    ensembles = tuple(spec.named(model) for spec in specs)
    of = "" if model == DEFAULT_MODEL else f" of {model}"
    for name in _steps(client, connection, ensembles):
        ready = functools.partial(_model_ready, client, connection, name)
        yield _ask(f"model {word_of(name)}{of}", connection, ready)
    for spec in ensembles:
        yield _ask(f"model {spec.name}", connection, functools.partial(_model_ready, client, connection, spec.name))
    for spec, named in zip(specs, ensembles, strict=True):
        question = functools.partial(_contract, client, connection, spec, model)
        yield _ask(f"contract {named.name}", connection, question)


def _has(client: triton.InferenceServerClient, connection: Connection, spec: EnsembleSpec) -> bool:
    """Whether a server knows an ensemble, loaded or not: repositories of earlier releases lack that of boxes alone."""
    try:
        client.get_model_config(spec.name, client_timeout=connection.deadline_s)
    except triton.InferenceServerException as failure:
        return not says_unknown(failure)
    return True


def _names(client: triton.InferenceServerClient, connection: Connection) -> tuple[str, ...]:
    """The models of a server; the usual one where the server does not tell, or has none."""
    try:
        statistics = client.get_inference_statistics(client_timeout=connection.deadline_s)
    except triton.InferenceServerException:  # a server may keep them to itself, and answer all the same
        return (DEFAULT_MODEL,)
    return served_names(statistics) or (DEFAULT_MODEL,)


def _ask(name: str, connection: Connection, question: Callable[[], str]) -> Check:
    """Time one question; its failure becomes part of the answer."""
    start = time.perf_counter()
    try:
        detail, error = question(), None
    except triton.InferenceServerException as failure:
        error = connection.error(failure)
    except ClientError as failure:
        error = failure
    if error is not None:
        detail = str(error)
    return Check(name, detail, error, 1e3 * (time.perf_counter() - start))


def _is_true(ask: Callable[..., bool], connection: Connection) -> str:
    """Liveness or readiness."""
    if ask(client_timeout=connection.deadline_s):
        return "yes"
    raise ServerUnavailable(f"{connection.url}: the server says no; it is starting, stopping, or a model did not load")


def _model_ready(client: triton.InferenceServerClient, connection: Connection, name: str) -> str:
    """Readiness of one model."""
    if client.is_model_ready(name, client_timeout=connection.deadline_s):
        return "ready"
    raise ServerUnavailable(f"{connection.url}: the model {name} is not loaded; look at the server's log")


def _steps(
    client: triton.InferenceServerClient, connection: Connection, ensembles: Sequence[EnsembleSpec]
) -> list[str]:
    """The models that the ensembles run, by the names that their configurations give them.

    An ensemble whose configuration cannot be had is passed over here: the checks of the ensemble itself say so.
    """
    found: dict[str, str] = {}
    for spec in ensembles:
        try:
            config = client.get_model_config(spec.name, client_timeout=connection.deadline_s).config
        except triton.InferenceServerException:
            continue
        found |= {word_of(step.model_name): step.model_name for step in config.ensemble_scheduling.step}
    return [found[word] for word in sorted(found, key=lambda word: STEPS.index(word) if word in STEPS else len(STEPS))]


def _contract(client: triton.InferenceServerClient, connection: Connection, spec: EnsembleSpec, name: str) -> str:
    """Names, types and shapes of one ensemble, its classes, what it tells of an object, and which model it is."""
    ensemble = spec.named(name).name
    metadata = client.get_model_metadata(ensemble, client_timeout=connection.deadline_s)
    config = client.get_model_config(ensemble, client_timeout=connection.deadline_s)
    model = read_model(metadata, config, spec, name)
    classes = f"{len(model.classes)} classes" if len(model.classes) > 1 else f"the class {model.classes[0]}"
    parts = ["boxes", *(["masks"] if model.has_masks else [])]
    parts += [f"{len(model.keypoint_names)} keypoints"] if model.keypoints else []
    return f"{classes}, up to {model.max_detections} detections an image: {', '.join(parts)}; {model.identity}"


def _canary(connection: Connection, model: str) -> str:
    """Send a small picture through the whole ensemble and check that the answer makes sense."""
    height, width = _CANARY_SIZE
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 256
    file = io.BytesIO()
    Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2).astype(np.uint8)).save(file, "PNG")
    with Detector(
        connection.url, model=model, deadline_s=connection.deadline_s, retries=connection.retries, tls=connection.tls
    ) as detector:
        found = detector.detect(file.getvalue())
    limits = np.array([width, height, width, height], np.float32) + 0.01  # float32 rounding of the last pixel's edge
    if found.image_size != _CANARY_SIZE:
        raise ContractMismatch(f"canary: got the image size {found.image_size}, expected {_CANARY_SIZE}")
    if not np.isfinite(found.scores).all() or not ((found.boxes >= -0.01) & (found.boxes <= limits)).all():
        raise ContractMismatch("canary: got boxes outside the image or scores that are no numbers; check the model")
    _check_canary_keypoints(found, limits[:2])
    try:
        for i in range(len(found) if found.rle is not None else 0):
            found.mask(i)
    except ValueError as error:
        raise ContractMismatch(f"canary: mask {i}: {error}; check the model's postprocessing") from error
    return f"{len(found)} objects in a test picture"


def _check_canary_keypoints(found: Detections, limits: npt.NDArray[np.float32]) -> None:
    """Raise ContractMismatch for keypoints outside the image, (x, y) limits in px, or without a score."""
    if found.keypoints is None:
        return
    places, scores = found.keypoints[..., :2], found.keypoints[..., 2]
    if not ((places >= -0.01) & (places <= limits)).all() or not np.isfinite(scores).all():
        raise ContractMismatch("canary: got keypoints outside the image or scores that are no numbers; check the model")
