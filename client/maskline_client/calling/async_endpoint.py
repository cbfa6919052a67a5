"""The asyncio twin of `Endpoint`."""

from __future__ import annotations

import asyncio
import math
import time

import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from maskline_client.calling.answer import parse_answer, request_inputs, request_outputs, request_parameters
from maskline_client.calling.known_model import ATTEMPTS, Knowledge, check_same
from maskline_client.calling.served_names import not_served, says_unknown
from maskline_client.connection import Connection
from maskline_client.contract import EnsembleSpec
from maskline_client.detections import Detections
from maskline_client.errors import ClientError, ModelChanged
from maskline_client.served_model import ServedModel, read_model


class AsyncEndpoint:
    """One address for one event loop; arguments as `Endpoint`."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection, self._name = connection, model
        self._client = triton_aio.InferenceServerClient(**connection.client_arguments())
        self._lock = asyncio.Lock()
        self._known = Knowledge(shares_failures=math.isfinite(connection.contract_s))

    async def close(self) -> None:
        """Close the connection; calls under way fail."""
        await self._client.close()

    def forget(self) -> None:
        """As `Endpoint.forget`."""
        self._known.forget()

    async def detect(self, data: bytes, spec: EnsembleSpec, of: ServedModel | None, start: float) -> Detections:
        """As `Endpoint.detect`."""
        for _ in range(ATTEMPTS):
            model = await self.model(spec, start)
            check_same(model, of, self._connection.url)
            try:
                result = await self._infer(data, spec, model, start)
            except ModelChanged:
                self._known.doubt(spec, model)
                continue
            if await self.model(spec, start, time.monotonic()) == model:
                return parse_answer(result.as_numpy, model)
        raise self._connection.changing(ATTEMPTS)

    async def model(self, spec: EnsembleSpec, start: float, since_s: float = -math.inf) -> ServedModel:
        """What is served since `since_s`; tasks wait for one check together."""
        if (model := self._known.at(spec, since_s)) is not None:
            return model
        waiting_since_s = time.monotonic()
        async with self._lock:
            if (model := self._known.at(spec, since_s)) is None:
                self._known.raise_failure(waiting_since_s)
                model = await self._learn(spec, start)
            return model

    async def _learn(self, spec: EnsembleSpec, start: float) -> ServedModel:
        """Read the contract, and keep what it says."""
        asked_s = time.monotonic()
        try:
            model = await self._check_contract(spec, start)
        except ClientError as error:
            self._known.failed(error)
            raise
        self._known.learn(spec, model, asked_s)
        return model

    async def _infer(self, data: bytes, spec: EnsembleSpec, model: ServedModel, start: float) -> triton.InferResult:
        """One request, meant for `model`."""
        try:
            return await self._client.infer(
                spec.named(self._name).name,
                request_inputs(data),
                outputs=request_outputs(model),
                client_timeout=self._connection.left_s(start),
                parameters=request_parameters(model),
            )
        except triton.InferenceServerException as failure:
            raise self._connection.error(failure) from failure

    async def _check_contract(self, spec: EnsembleSpec, start: float) -> ServedModel:
        """Compare the server with the contract and return what it serves."""
        left_s, name = self._connection.contract_left_s, spec.named(self._name).name
        try:
            # In this order: where the model is replaced in between, the artifact is the old one's, and a request for it
            # is refused. In the other order the new one would answer, and be read by the outputs of the old one.
            config = await self._client.get_model_config(name, client_timeout=left_s(start))
            metadata = await self._client.get_model_metadata(name, client_timeout=left_s(start))
        except triton.InferenceServerException as failure:
            error = self._connection.contract_error(failure, start)
            raise await self._not_served(spec, start, error) if says_unknown(failure) else error from failure
        return read_model(metadata, config, spec, self._name)

    async def _not_served(self, spec: EnsembleSpec, start: float, error: ClientError) -> ClientError:
        """What the server serves in place of a model that it does not know."""
        try:
            statistics = await self._client.get_inference_statistics(
                client_timeout=self._connection.contract_left_s(start)
            )
        except triton.InferenceServerException:  # a server may keep them to itself
            return error
        return not_served(self._connection.url, self._name, spec, statistics)
