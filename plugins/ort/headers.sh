#!/usr/bin/env bash
# Prints the folder of ONNX Runtime's headers, for plugins/ort and plugins/triton: the system's, or those of Debian 13's package,
# which are downloaded into the folder given from the mirror that the system uses (nothing is installed). No wheel brings
# them, and newer ones would make a library that older versions of ONNX Runtime refuse. Without either: a line on stderr,
# and no folder.
set -euo pipefail
into=$1
header=onnxruntime_cxx_api.h
for place in /usr/include/onnxruntime /usr/local/include/onnxruntime /usr/include/onnxruntime/core/session; do
    if [[ -f $place/$header ]]; then
        echo "$place"
        exit 0
    fi
done
found=$into/usr/include/onnxruntime
if [[ ! -f $found/$header ]] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    mkdir -p "$into"
    into=$(cd "$into" && pwd)
    (
        scratch=$(mktemp -d)
        trap 'rm -rf "$scratch"' EXIT
        cd "$scratch"
        mkdir -p lists/partial cache/archives/partial
        keys=/usr/share/keyrings/debian-archive-keyring.gpg
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$')
        echo "deb [signed-by=$keys] $mirror trixie main" >sources
        options=(-qq -o Dir::Etc::sourcelist="$scratch/sources" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$scratch/lists"
            -o Dir::Cache="$scratch/cache" -o Acquire::Retries=3 -o APT::Sandbox::User=root)
        apt-get "${options[@]}" update && apt-get "${options[@]}" download libonnxruntime-dev
        dpkg-deb -x libonnxruntime-dev_*.deb unpacked
        mv unpacked/usr "$into/usr"
    ) >&2 || true
fi
if [[ -f $found/$header ]]; then
    (cd "$found" && pwd)
else
    echo "plugins: ONNX Runtime's headers are not here, so libmaskline_ort.so and libtriton_onnxruntime.so are not built;" \
        "\`apt install libonnxruntime-dev\` (Debian 13), or name a folder: make plugins ONNXRUNTIME_INCLUDE=..." >&2
fi
