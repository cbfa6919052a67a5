"""A served model at one address, asked by threads: its contract, and one image after the other."""

from __future__ import annotations

import math
import threading
import time

import tritonclient.grpc as triton

from maskline_client.calling.answer import parse_answer, request_inputs, request_outputs, request_parameters
from maskline_client.calling.known_model import ATTEMPTS, Knowledge, check_same
from maskline_client.calling.served_names import not_served, says_unknown
from maskline_client.connection import Connection
from maskline_client.contract import EnsembleSpec
from maskline_client.detections import Detections
from maskline_client.errors import ClientError, ModelChanged
from maskline_client.served_model import ServedModel, read_model


class Endpoint:
    """One address; safe to share between threads.

    Args:
        connection: to one address.
        model: the model's name there.
    """

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection, self._name = connection, model
        self._client = triton.InferenceServerClient(**connection.client_arguments())
        self._lock = threading.Lock()
        self._known = Knowledge(shares_failures=math.isfinite(connection.contract_s))

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        self._client.close()

    def forget(self) -> None:
        """Read the contract before the next image, as after a failure: an address that still fails says so at once."""
        self._known.forget()

    def detect(self, data: bytes, spec: EnsembleSpec, of: ServedModel | None, start: float) -> Detections:
        """Send an image until it is sure which model answered.

        Args:
            data: the image file.
            spec: the ensemble that answers.
            of: the model that must answer; None takes any.
            start: when the call began, of `time.monotonic`.
        """
        for _ in range(ATTEMPTS):
            model = self.model(spec, start)
            check_same(model, of, self._connection.url)
            try:
                result = self._infer(data, spec, model, start)
            except ModelChanged:
                self._known.doubt(spec, model)
                continue
            if self.model(spec, start, since_s=time.monotonic()) == model:
                return parse_answer(result.as_numpy, model)
        raise self._connection.changing(ATTEMPTS)

    def model(self, spec: EnsembleSpec, start: float, since_s: float = -math.inf) -> ServedModel:
        """What is served since `since_s`; threads wait for one check together, each until its own deadline."""
        if (model := self._known.at(spec, since_s)) is not None:
            return model
        waiting_since_s = time.monotonic()
        if not self._lock.acquire(timeout=self._connection.left_s(start)):
            raise self._connection.too_late()
        try:
            if (model := self._known.at(spec, since_s)) is None:
                self._known.raise_failure(waiting_since_s)
                model = self._learn(spec, start)
            return model
        finally:
            self._lock.release()

    def _learn(self, spec: EnsembleSpec, start: float) -> ServedModel:
        """Read the contract, and keep what it says."""
        asked_s = time.monotonic()
        try:
            model = self._check_contract(spec, start)
        except ClientError as error:
            self._known.failed(error)
            raise
        self._known.learn(spec, model, asked_s)
        return model

    def _infer(self, data: bytes, spec: EnsembleSpec, model: ServedModel, start: float) -> triton.InferResult:
        """One request, meant for `model`."""
        try:
            return self._client.infer(
                spec.named(self._name).name,
                request_inputs(data),
                outputs=request_outputs(model),
                client_timeout=self._connection.left_s(start),
                parameters=request_parameters(model),
            )
        except triton.InferenceServerException as failure:
            raise self._connection.error(failure) from failure

    def _check_contract(self, spec: EnsembleSpec, start: float) -> ServedModel:
        """Compare the server with the contract and return what it serves."""
        left_s, name = self._connection.contract_left_s, spec.named(self._name).name
        try:
            # In this order: where the model is replaced in between, the artifact is the old one's, and a request for it
            # is refused. In the other order the new one would answer, and be read by the outputs of the old one.
            config = self._client.get_model_config(name, client_timeout=left_s(start))
            metadata = self._client.get_model_metadata(name, client_timeout=left_s(start))
        except triton.InferenceServerException as failure:
            error = self._connection.contract_error(failure, start)
            raise self._not_served(spec, start, error) if says_unknown(failure) else error from failure
        return read_model(metadata, config, spec, self._name)

    def _not_served(self, spec: EnsembleSpec, start: float, error: ClientError) -> ClientError:
        """What the server serves in place of a model that it does not know."""
        try:
            statistics = self._client.get_inference_statistics(client_timeout=self._connection.contract_left_s(start))
        except triton.InferenceServerException:  # a server may keep them to itself
            return error
        return not_served(self._connection.url, self._name, spec, statistics)
