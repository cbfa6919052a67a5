#!/bin/sh
# Serves the repository beside this file with the tritonserver of Triton's container, on the CPU. Further options are
# passed on:
#   sh /repository/launch.sh --metrics-address=0.0.0.0
set -eu
here=$(cd "$(dirname "$0")" && pwd)

# Nobody is told the key, so what it closes stays closed.
key=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
closed=shared-memory,model-repository,trace,logging

# HTTP and metrics have no TLS and ask nobody: they are for the health check inside the container.
exec tritonserver \
    --model-repository="$here/models" \
    --backend-config=python,shm-default-byte-size=16777216 \
    --disable-auto-complete-config \
    --strict-readiness=true \
    --exit-on-error=true \
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
