#!/bin/sh
# Serves this repository's TensorRT engines with the tritonserver of Triton's container. Further options are passed on:
#   ./launch.sh --metrics-address=0.0.0.0
# CUDA_POOL_BYTES: memory of GPU 0 for tensors that travel between the steps.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

# ONNX Runtime, for models beside these, sends usage data since 1.29 unless told not to.
export ORT_DISABLE_TELEMETRY="${ORT_DISABLE_TELEMETRY:-1}"

# A plan of another TensorRT or GPU would fail one model at a time, deep in the log.
python3 "$here/check_engines.py"

# The shim registers the plugins of libmaskline_trt.so beside it. Without it the engines would find no plugin.
if [ -f "$here/plugins/libmaskline_triton.so" ]; then
    set -- --backend-config=tensorrt,plugins="$here/plugins/libmaskline_triton.so" "$@"
fi

# Nobody is told the key, so what it closes stays closed.
key=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
closed=shared-memory,model-repository,trace,logging

# HTTP and metrics have no TLS and ask nobody: they are for the inside of the container.
exec tritonserver \
    --model-repository="$here/models" \
    --cuda-memory-pool-byte-size="0:${CUDA_POOL_BYTES:-@POOL_BYTES@}" \
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
