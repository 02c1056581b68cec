#!/usr/bin/env bash
# The first minutes on a machine with an NVIDIA GPU, as one call: does it start, is it right, how fast is it, does it
# survive a kill, and what does PyTorch do beside it? The machine needs Python's torch 2.11.0 and the folder .gpu that
# `scripts/gpu-pack` fills; no Rust, and no data: images are made here, of noise.
#
#   scripts/gpu-check.sh                all of it; needs about 9 minutes
#   scripts/gpu-check.sh --dry FOLDER   every step in small, on the pretended device in FOLDER (tests/pretended_cuda)
#
# All results go to $OUT (gpu-results unless set); summary.md has the figures. Each step has a time limit, and what
# fails does not stop the rest. After $BUDGET seconds (480 unless set) nothing more is begun. Exit code 1: a step failed.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "${OUT:-gpu-results}" && cd "${OUT:-gpu-results}" && pwd) || exit 2
budget=${BUDGET:-480}
python=${PYTHON:-python3}
binary=${SLUICEBOX:-.gpu/sluicebox}
dry=
if [ "${1:-}" = --dry ]; then dry=$(cd "${2:?name the folder of the pretended device}" && pwd) || exit 2; fi
: >"$out/results.jsonl"
[ ! -e .gpu/packed.tar.xz ] || tar xJf .gpu/packed.tar.xz -C .gpu || exit 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

figures() { "$python" scripts/gpu-check.py "$@"; }
left() { echo $((SECONDS < budget ? budget - SECONDS : 0)); }
say() { printf '\n%4d s  %s\n' "$SECONDS" "$*"; }

# begin NAME SECONDS: whether there is time for a step.
begin() {
    [ "$(left)" -ge "$2" ] && return
    figures skip "$out" "$1" "$(left) s are left, and it may take $2 s"
    return 1
}

# run NAME LIMIT HOW JOB [--set …]: runs a job, and keeps its rows, messages and summary. HOW is `ends` where the job
# must end within the limit, or `endless` where it is stopped after it.
run() {
    local name=$1 limit=$2 how=$3 code watcher= began=$EPOCHREALTIME
    shift 3
    begin "$name" "$limit" || return 0
    local guard=(timeout -k 10 "$limit")
    [ "$how" = ends ] || guard=(timeout -k 10 --preserve-status "$limit")
    [ -z "$dry" ] || guard=(timeout -k 10 300)
    if [ -z "$dry" ] && command -v nvidia-smi >/dev/null; then
        nvidia-smi --query-gpu=timestamp,utilization.gpu --format=csv,noheader,nounits -lms 200 -f "$out/$name.busy" &
        watcher=$!
    fi
    "${guard[@]}" "$binary" run "$@" "${small[@]}" --log json --summary "$out/$name.summary" \
        >"$out/$name.rows" 2>"$out/$name.stderr"
    code=$?
    [ -z "$watcher" ] || { kill "$watcher" && wait "$watcher"; } 2>/dev/null
    figures row "$out" "$name" "$code" "$(seconds_since "$began")"
    [ "$code" = 0 ] || { failed=1; tail -n 5 "$out/$name.stderr"; return 1; }
}

seconds_since() { awk -v began="$1" -v now="$EPOCHREALTIME" 'BEGIN { print now - began }'; }

# step NAME LIMIT COMMAND…: runs something else, and keeps what it says.
step() {
    local name=$1 limit=$2 code began=$EPOCHREALTIME
    shift 2
    begin "$name" "$limit" || return 0
    timeout -k 5 "$limit" "$@" >"$out/$name.rows" 2>"$out/$name.stderr"
    code=$?
    figures row "$out" "$name" "$code" "$(seconds_since "$began")"
    [ "$code" = 0 ] || { failed=1; tail -n 5 "$out/$name.stderr"; }
}

if [ -n "$dry" ]; then
    LD_LIBRARY_PATH=$dry${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    images=500 asking=3
    small=(--set threads=1 --set stop.epochs=3 --set epoch.steps=2 --set batch.labelled=2 --set batch.unlabelled=6
        --set checkpoint.steps=2)
else
    folders=$(figures libraries) || exit 2
    LD_LIBRARY_PATH=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    images=20000 asking=15
    small=()
fi
export LD_LIBRARY_PATH
cuda=(--set device=cuda:0)
endless=(--set stop.epochs=1000000 --set report.evaluate_epochs=0)
digits=pipelines/digits.toml
nets28=(pipelines/fashion.toml --set "source.path=$scratch/noise/idx" --set method.threshold=0 --set epoch.steps=100)
wide=(pipelines/cifar.toml --set "source.path=$scratch/noise/cifar" --set model.kind=wide-resnet
    --set source.labelled_per_class=40 --set method.threshold=0 --set epoch.steps=25)

say "versions"
{
    nvidia-smi; nvidia-smi -q -d CLOCK,POWER; cat /proc/driver/nvidia/version; ls -l /dev/nvidia*
    lscpu; uname -a; ldd --version | head -n 1
    "$binary" --version; ldd "$binary"; "$python" -V
    "$python" -c 'import torch; print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())'
} >"$out/versions.txt" 2>&1
grep -E "=> not found|NVIDIA-SMI" "$out/versions.txt"
figures noise "$scratch/noise" "$images" || exit 2

say "does it start?"
run light 60 ends "$digits" "${cuda[@]}" --set stop.epochs=2 || {
    run light-f32 30 ends "$digits" "${cuda[@]}" --set stop.epochs=2 --set precision=f32
    run light-filter 30 ends "$digits" "${cuda[@]}" --set stop.epochs=2 --set filter.mode=filter
    export CUDA_LAUNCH_BLOCKING=1 RUST_BACKTRACE=1 # so that the error is told where it happens
    run light-blocking 30 ends "$digits" "${cuda[@]}" --set stop.epochs=1
    unset CUDA_LAUNCH_BLOCKING
}

say "is it right? (equal jobs, f32, filter mode, and the CPU)"
run digits 30 ends "$digits" "${cuda[@]}" --set stop.epochs=20
run digits-again 30 ends "$digits" "${cuda[@]}" --set stop.epochs=20
run digits-f32 30 ends "$digits" "${cuda[@]}" --set stop.epochs=20 --set precision=f32
run digits-filter 30 ends "$digits" "${cuda[@]}" --set stop.epochs=20 --set filter.mode=filter
run digits-cpu 30 ends "$digits" --set device=cpu --set stop.epochs=8 --set filter.mode=mask

say "how fast? (20 s each, once it is under way)"
run digits-long 20 endless "$digits" "${cuda[@]}" "${endless[@]}"
run net28-16-112 20 endless "${nets28[@]}" "${cuda[@]}" "${endless[@]}"
run net28-64-448 20 endless "${nets28[@]}" "${cuda[@]}" "${endless[@]}" --set batch.labelled=64 --set batch.unlabelled=448
run net28-64-1792 20 endless "${nets28[@]}" "${cuda[@]}" "${endless[@]}" --set batch.labelled=64 --set batch.unlabelled=1792
run wide-64-448 30 endless "${wide[@]}" "${cuda[@]}" "${endless[@]}" --set batch.labelled=64 --set batch.unlabelled=448

say "PyTorch beside it"
pytorch=(--all --seconds 5 --limit 90)
[ -z "$dry" ] || pytorch=(--net convnet8 --device cpu --seconds 0 --warmup 0 --labelled 2 --unlabelled 6)
if [ -z "$dry" ] || "$python" -c 'import torch' 2>/dev/null; then
    step pytorch 150 env OMP_NUM_THREADS=1 "$python" benches/pytorch/gpu.py "${pytorch[@]}"
else
    figures skip "$out" pytorch "there is no torch for $python here"
fi

say "labels that come late, a threshold for each class, the gate"
run flexmatch 15 ends pipelines/flexmatch.toml "${cuda[@]}" --set stop.epochs=2
run late-labels 15 ends "$digits" "${cuda[@]}" --set stop.epochs=2 --set labels.rate=0.5 --set labels.delay=200
run gate 15 ends "$digits" "${cuda[@]}" --set stop.epochs=2 --set labels.rate=0.5 --set labels.delay=200 --set filter.gate=true

say "killed and resumed: the weights of these two are the same"
lasting=("$digits" "${cuda[@]}" --set stop.epochs=60 --set checkpoint.steps=200)
run unharmed 30 ends "${lasting[@]}" --state "$scratch/unharmed"
if begin killed 30; then
    "$binary" run "${lasting[@]}" "${small[@]}" --state "$scratch/killed" >"$out/killed.rows" 2>&1 &
    job=$!
    for _ in {1..300}; do # until there is a checkpoint, and no longer than 30 s
        compgen -G "$scratch/killed/step-*" >/dev/null || ! kill -0 "$job" 2>/dev/null && break
        sleep 0.1
    done
    kill -KILL "$job" 2>/dev/null
    wait "$job" 2>/dev/null
fi
run resumed 30 ends "${lasting[@]}" --state "$scratch/killed"

say "/predict while it trains"
if begin predict 40; then
    figures ask "$out" "$asking" "$binary" run "$digits" "${cuda[@]}" "${endless[@]}" || failed=1
fi

say "stages one by one, synchronised"
if [ -x .gpu/stages ]; then
    step stages 40 .gpu/stages "$scratch/noise/idx"
    tail -n 40 "$out/stages.rows"
else
    figures skip "$out" stages "there is no .gpu/stages"
fi

say "every method for a few steps"
for method in $("$binary" list | awk '/^[a-z]/ { part = $1 } /^  / && part == "methods" { print $1 }'); do
    run "method-$method" 12 ends "$digits" "${cuda[@]}" --set "method.kind=$method" --set stop.epochs=1 --set epoch.steps=50
done

say "done"
figures table "$out"
exit "$failed"
