#!/usr/bin/env bash
# Compiles pycuda, which is source alone, and installs it by pip.
#
#   plugins/testing/driver/pycuda.sh PYTHON NVCC DRIVER [--target FOLDER]
#
# With a CUDA toolkit of NVIDIA's installer `pip install pycuda` is enough. This is for a toolkit that came from PyPI: it
# has the profiler's header in a package of its own, no stub of the driver, and curand, which we do not call, where no
# program finds it. DRIVER: the driver's library to link to, used where this machine has none of its own.
set -euo pipefail
python=$1 nvcc=$(readlink -f "$2") driver=$3
shift 3
toolkit=$(dirname "$(dirname "$nvcc")")
pip() { "$python" -m pip "$1" -q --disable-pip-version-check "${@:2}"; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
own=$(ldconfig -p | sed -n 's/.*libcuda\.so\.1 .*x86-64.* => //p' | head -n 1)
ln -s "$(readlink -f "${own:-$driver}")" "$scratch/libcuda.so"
if [ ! -f "$toolkit/include/cudaProfiler.h" ]; then
    release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
    pip install --no-deps --target "$scratch/profiler" "nvidia-cuda-profiler-api==$release.*"
fi
profiler=$(find "$scratch" -name cudaProfiler.h -printf '%h')
pip download --no-deps --no-binary pycuda --dest "$scratch" pycuda
tar -xzf "$scratch"/pycuda-*.tar.gz -C "$scratch"
source=$(ls -d "$scratch"/pycuda-*/)
cat >"$source/siteconf.py" <<CONFIG
CUDA_ROOT = "$toolkit"
CUDA_INC_DIR = ["$toolkit/include", "${profiler:-$toolkit/include}"]
CUDADRV_LIB_DIR = ["$scratch"]
CUDA_ENABLE_CURAND = False
CONFIG
pip install "$@" "$source"
