#!/usr/bin/env bash
# Builds the pretended CUDA device (device.cpp beside this script) as FOLDER/libtorch_cuda.so, in about half a minute:
#
#   tests/pretended_cuda/build.sh FOLDER
#   LD_LIBRARY_PATH=FOLDER PRETENDED_CUDA_LOG=operations.log target/release/sluicebox run JOB --set device=cuda:0
#
# libtorch is that of $LIBTORCH, else the one that scripts/setup found. The compiler is $CXX, else c++.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?name the folder for libtorch_cuda.so}
libtorch=${LIBTORCH:-$here/../../.libtorch/torch}
mkdir -p "$folder"
# Under another name first: a folder never holds half a library.
made=$(mktemp "$folder/made-XXXXXX")
trap 'rm -f "$made"' EXIT
"${CXX:-c++}" -std=c++17 -O1 -w -fPIC -shared \
    -I"$libtorch/include" -I"$libtorch/include/torch/csrc/api/include" "$here/device.cpp" \
    -L"$libtorch/lib" -ltorch_cpu -lc10 -Wl,-soname,libtorch_cuda.so -o "$made"
mv "$made" "$folder/libtorch_cuda.so"
