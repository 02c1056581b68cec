#!/usr/bin/env bash
# Runs a release binary on a machine with an NVIDIA GPU that has only Python's torch 2.11, no
# Rust: prints device, accuracy, samples/s and the share of time the GPU was busy, on the GPU
# and on the CPU.
#
#   scripts/gpu-check.sh [target/release/sluicebox [FOLDER_OF_FASHION_MNIST]]
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-target/release/sluicebox}
fashion=${2:-}
python=${PYTHON:-python3}

command -v nvidia-smi >/dev/null || { echo "gpu-check: no nvidia-smi: there is no NVIDIA driver here" >&2; exit 2; }
LD_LIBRARY_PATH=$("$python" - <<'PY'
import glob, pathlib, site, sys
import torch
assert torch.__version__.startswith("2.11.0"), f"torch 2.11.0 is needed, not {torch.__version__}"
torch_lib = pathlib.Path(torch.__file__).parent / "lib"
nvidia = glob.glob(str(torch_lib.parent.parent / "nvidia" / "*" / "lib"))
print(":".join([str(torch_lib), *nvidia]))
PY
)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader

# check NAME JOB [--set …]: runs a job, watching the GPU five times a second.
check() {
    local name=$1 busy summary
    shift
    busy=$(mktemp) summary=$(mktemp)
    nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits -lms 200 >"$busy" &
    local watcher=$!
    "$binary" run "$@" --summary "$summary" >/dev/null || { kill "$watcher"; echo "$name: failed"; return 1; }
    kill "$watcher" && wait "$watcher" 2>/dev/null || true
    "$python" - "$name" "$summary" "$busy" <<'PY'
import json, sys
name, summary, busy = sys.argv[1:]
s = json.load(open(summary))
use = [float(x) for x in open(busy).read().split()] or [0.0]
print(f"{name}: device {s['device']}, accuracy {s['accuracy']:.4f}, {s['samples_per_s']:.0f} samples/s, "
      f"{s['seconds']:.1f} s, GPU busy {sum(use) / len(use):.0f} %")
PY
    rm -f "$busy" "$summary"
}

for device in cuda:0 cpu; do
    check "digits" pipelines/digits.toml --set "device=$device"
done
check "digits, filter mode" pipelines/digits.toml --set device=cuda:0 --set filter.mode=filter
check "digits, f32" pipelines/digits.toml --set device=cuda:0 --set precision=f32
if [ -n "$fashion" ]; then
    for device in cuda:0 cpu; do
        check "fashion" pipelines/fashion.toml --set "device=$device" --set "source.path=$fashion"
    done
    check "fashion, large batches" pipelines/fashion.toml --set device=cuda:0 --set "source.path=$fashion" \
        --set batch.labelled=64 --set batch.unlabelled=1792
fi
