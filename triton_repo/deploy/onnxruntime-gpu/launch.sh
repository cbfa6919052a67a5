#!/bin/sh
# Serves this repository with the tritonserver of Triton's container, whose onnxruntime backend runs the stages on the
# GPU. Further options are passed on:
#   sh /repository/launch.sh --metrics-address=0.0.0.0
# CUDA_POOL_BYTES: memory of each card for tensors that travel between the steps.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$here" != /repository ]; then
    echo "launch.sh: got $here, expected /repository, where the configs look for our ops; mount or copy it there" >&2
    exit 1
fi

# ONNX Runtime sends usage data since 1.29 unless told not to.
export ORT_DISABLE_TELEMETRY="${ORT_DISABLE_TELEMETRY:-1}"

for card in @CARDS@; do
    set -- --cuda-memory-pool-byte-size="$card:${CUDA_POOL_BYTES:-@POOL_BYTES@}" "$@"
done

# Nobody is told the key, so what it closes stays closed.
key=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
closed=shared-memory,model-repository,trace,logging

# HTTP and metrics have no TLS and ask nobody: they are for the inside of the container.
# `official`: configs with the library of our ops and the warm-up for that backend.
exec tritonserver \
    --model-repository="$here/models" \
    --model-config-name=official \
    --backend-config=python,shm-default-byte-size=16777216 \
    --disable-auto-complete-config \
    --strict-readiness=true \
    --exit-timeout-secs=30 \
    --http-address=127.0.0.1 \
    --metrics-address=127.0.0.1 \
    --grpc-restricted-protocol="$closed:maskline-key=$key" \
    --http-restricted-api="$closed:maskline-key=$key" \
    --allow-grpc=true \
    --allow-http=true \
    --allow-sagemaker=false \
    --allow-vertex-ai=false \
    "$@"
