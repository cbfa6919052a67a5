#!/usr/bin/env bash
# Everything of the ops that needs a GPU, in one run: build, op tests, harness, sanitizer, benchmarks.
#
#   plugins/check_gpu.sh OUT
#
# Needs nvcc 12.8 or later, cmake, ninja, and a python with torch, torchvision, onnx, onnxscript, onnxruntime-gpu, pytest,
# pytest-xdist, hypothesis, scikit-image, pycocotools, tritonclient, typer, rich (PYTHON=...). TENSORRT_INCLUDE=folder of
# NvInferRuntime.h adds plugins and harness, ONNXRUNTIME_INCLUDE=folder of onnxruntime_cxx_api.h the custom ops; without
# them, and without a CUDA provider in onnxruntime, the script says what is left out. Logs and JSON files go to OUT; the
# exit status counts the failed parts. PARTS="tests benchmark" runs these alone.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
out=${1:?usage: plugins/check_gpu.sh OUT}
python=${PYTHON:-python3}
build=${BUILD:-build/plugins_gpu}
include=${TENSORRT_INCLUDE:-}
ort_include=${ONNXRUNTIME_INCLUDE:-}
export PYTHONPATH=plugins:export:train:client:triton_repo:bench${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export MASKLINE_PLUGINS_BUILD=$PWD/$build
export MASKLINE_HOST_LIBRARY=$PWD/$build/libmaskline_host.so
mkdir -p "$out"
failed=0

part() { # NAME COMMAND...: run it, keep its output, say how it went
    local name=$1 status
    shift
    [[ -z ${PARTS:-} || " $PARTS " == *" $name "* ]] || return 0
    echo "== $name: $*"
    "$@" >"$out/$name.log" 2>&1
    status=$?
    tail -n "${LINES_SHOWN:-12}" "$out/$name.log"
    [ $status -eq 0 ] || failed=$((failed + 1))
    echo "== $name: exit $status"
}

sm=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ -n "$sm" ] || { echo "error: nvidia-smi names no GPU; expected one" >&2; exit 1; }
part configure cmake -S plugins -B "$build" -G Ninja "-DMASKLINE_SM=$sm" "-DMASKLINE_TENSORRT_INCLUDE=$include" \
    "-DMASKLINE_ONNXRUNTIME_INCLUDE=$ort_include"
part build cmake --build "$build"
[ $failed -eq 0 ] || exit $failed
part tests "$python" -m pytest -q -p no:cacheprovider -n 8 tests/plugins -k "cuda or simt" -rs
sanitizer=$(command -v compute-sanitizer || true)
if [ -n "$include" ]; then
    part harness "$build/maskline_harness" "$build/libmaskline_trt.so"
    for tool in memcheck initcheck; do
        [ -z "$sanitizer" ] || part "sanitizer_harness_$tool" "$sanitizer" --tool "$tool" --error-exitcode 9 \
            "$build/maskline_harness" "$build/libmaskline_trt.so"
    done
else
    echo "== harness: not run, TENSORRT_INCLUDE is not set"
fi
[ -n "$sanitizer" ] || echo "== sanitizer: not run, no compute-sanitizer on PATH"
# The kernels alone, op by op: racecheck cannot follow all launches of the harness, and torch has kernels of its own.
for tool in memcheck racecheck synccheck; do
    [ -z "$sanitizer" ] || part "sanitizer_$tool" "$sanitizer" --tool "$tool" --error-exitcode 9 \
        --kernel-regex kns=maskline "$python" -m maskline_bench.device_ops --build "$build" --dry-run --batch 2
done
LINES_SHOWN=60 part benchmark "$python" -m maskline_bench.device_ops --build "$build" --json "$out/device_ops.json"
if "$python" -c 'import onnxruntime as o, sys; sys.exit("CUDAExecutionProvider" not in o.get_available_providers())'; then
    for precision in fp32 fp16; do
        LINES_SHOWN=60 part "engines_$precision" "$python" -m maskline_bench.engines --device cuda --batch 1 --batch 8 \
            --rounds 50 --precision "$precision" --json "$out/engines_$precision.json"
    done
else
    echo "== engines: not run, this onnxruntime has no CUDA provider (onnxruntime-gpu has)"
fi
echo "failed parts: $failed"
exit $failed
