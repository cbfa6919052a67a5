#!/bin/sh
# Serves this repository's TensorRT engines with the tritonserver of Triton's container. Further options are passed on:
#   ./launch.sh --http-port=9000
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

exec tritonserver \
    --model-repository="$here/models" \
    --cuda-memory-pool-byte-size="0:${CUDA_POOL_BYTES:-@POOL_BYTES@}" \
    --backend-config=python,shm-default-byte-size=16777216 \
    --disable-auto-complete-config \
    --strict-readiness=true \
    --exit-timeout-secs=30 \
    "$@"
