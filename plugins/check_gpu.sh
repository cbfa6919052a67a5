#!/usr/bin/env bash
# Everything of the plugin pack that needs a GPU, in one run: build, op tests, harness, sanitizer, benchmark.
#
#   plugins/check_gpu.sh OUT
#
# Needs nvcc 12.8 or later, cmake, ninja, and a python with torch, torchvision, onnx, onnxruntime, pytest, hypothesis,
# typer, rich (PYTHON=...). TENSORRT_INCLUDE=folder of NvInferRuntime.h adds plugins and harness; without it they are
# left out, and the script says so. Logs and device_ops.json go to OUT; the exit status counts the failed parts.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: plugins/check_gpu.sh OUT}
python=${PYTHON:-python3}
build=${BUILD:-build/plugins_gpu}
include=${TENSORRT_INCLUDE:-}
export PYTHONPATH=plugins:export:train:bench PYTHONUNBUFFERED=1 MASKLINE_PLUGINS_BUILD=$PWD/$build
export MASKLINE_HOST_LIBRARY=$PWD/$build/libmaskline_host.so
mkdir -p "$out"
failed=0

part() { # NAME COMMAND...: run it, keep its output, say how it went
    local name=$1 status
    shift
    echo "== $name: $*"
    "$@" >"$out/$name.log" 2>&1
    status=$?
    tail -n "${LINES_SHOWN:-12}" "$out/$name.log"
    [ $status -eq 0 ] || failed=$((failed + 1))
    echo "== $name: exit $status"
}

sm=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ -n "$sm" ] || { echo "error: nvidia-smi names no GPU; expected one" >&2; exit 1; }
part configure cmake -S plugins -B "$build" -G Ninja "-DMASKLINE_SM=$sm" "-DMASKLINE_TENSORRT_INCLUDE=$include"
part build cmake --build "$build"
[ $failed -eq 0 ] || exit $failed
part tests "$python" -m pytest -q -p no:cacheprovider tests/plugins -k "cuda or simt" -rs
sanitizer=$(command -v compute-sanitizer || true)
if [ -n "$include" ]; then
    part harness "$build/maskline_harness" "$build/libmaskline_trt.so"
    for tool in memcheck racecheck initcheck synccheck; do
        [ -z "$sanitizer" ] || part "sanitizer_$tool" "$sanitizer" --tool "$tool" --error-exitcode 9 \
            "$build/maskline_harness" "$build/libmaskline_trt.so"
    done
else
    echo "== harness: not run, TENSORRT_INCLUDE is not set"
fi
[ -n "$sanitizer" ] || echo "== sanitizer: not run, no compute-sanitizer on PATH"
[ -z "$sanitizer" ] || part sanitizer_ops "$sanitizer" --tool memcheck --error-exitcode 9 \
    "$python" -m maskline_bench.device_ops --build "$build" --dry-run
LINES_SHOWN=60 part benchmark "$python" -m maskline_bench.device_ops --build "$build" --json "$out/device_ops.json"
echo "failed parts: $failed"
exit $failed
