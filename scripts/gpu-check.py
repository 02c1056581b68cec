"""The parts of scripts/gpu-check.sh that read and write data. Each is one call of it.

    gpu-check.py libraries                         folders of torch's libraries, for LD_LIBRARY_PATH
    gpu-check.py noise FOLDER IMAGES               images of noise in the formats of MNIST and CIFAR-10
    gpu-check.py row RESULTS NAME EXIT_CODE SECONDS    the figures of one job, from the files that it left in RESULTS
    gpu-check.py skip RESULTS NAME REASON
    gpu-check.py ask RESULTS SECONDS COMMAND…      times of /predict while a job runs
    gpu-check.py table RESULTS                     all figures, as summary.md
"""

import glob
import json
import pathlib
import random
import socket
import statistics
import struct
import subprocess
import sys
import time
import urllib.request

STARTING, STOPPING = 60, 30  # seconds
FIGURES = [
    ("job", "name", "{}"),
    ("exit", "exit_code", "{}"),
    ("wall s", "seconds", "{:.1f}"),
    ("device", "device", "{}"),
    ("epochs", "epochs", "{}"),
    ("samples/s", "samples_per_s", "{:.0f}"),
    ("slowest epoch", "slowest", "{:.0f}"),
    ("fastest", "fastest", "{:.0f}"),
    ("GPU ran a kernel %", "kernel_percent", "{:.0f}"),
    ("GPU MiB", "gpu_memory_mib", "{:.0f}"),
    ("accuracy", "accuracy", "{:.4f}"),
    ("lines of stderr", "stderr_lines", "{}"),
    ("weights", "weights", "{}"),
    ("note", "note", "{}"),
]


def libraries():
    import torch

    if not torch.__version__.startswith("2.11.0"):
        sys.exit(f"gpu-check: torch 2.11.0 is needed, but {torch.__version__} is here")
    torch_lib = pathlib.Path(torch.__file__).parent / "lib"
    print(":".join([str(torch_lib), *glob.glob(str(torch_lib.parent.parent / "nvidia" / "*" / "lib"))]))


def noise(folder, images):
    folder, images = pathlib.Path(folder), int(images)
    for part, count in (("train", images), ("t10k", images // 10)):
        idx = folder / "idx"
        idx.mkdir(parents=True, exist_ok=True)
        pixels = struct.pack(">4I", 0x803, count, 28, 28) + random.randbytes(28 * 28 * count)
        (idx / f"{part}-images-idx3-ubyte").write_bytes(pixels)
        classes = bytes(number % 10 for number in range(count))
        (idx / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + classes)
    cifar = folder / "cifar"
    cifar.mkdir(parents=True, exist_ok=True)
    for name in [*(f"data_batch_{part}.bin" for part in range(1, 6)), "test_batch.bin"]:
        records = (bytes([number % 10]) + random.randbytes(3072) for number in range(images // 5))
        (cifar / name).write_bytes(b"".join(records))


def lines_of(path):
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def objects(lines):
    for line in lines:
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict):
            yield one


def kernel_percent(path, began_ms, ended_ms):
    """The mean of nvidia-smi's samples in the time between two rows; none without nvidia-smi."""
    samples = []
    for line in lines_of(path):
        at, _, percent = line.partition(",")
        try:
            moment = time.mktime(time.strptime(at.split(".")[0], "%Y/%m/%d %H:%M:%S")) * 1000
            samples += [float(percent)] if began_ms <= moment <= ended_ms else []
        except ValueError:
            continue
    return statistics.mean(samples) if samples else None


def row(results, name, exit_code, seconds):
    results = pathlib.Path(results)
    found = {"name": name, "exit_code": int(exit_code), "seconds": float(seconds)}
    epochs = [one for one in objects(lines_of(results / f"{name}.rows")) if "ended_ms" in one]
    # Loading CUDA, choosing kernels and filling queues is over after a quarter of the epochs.
    steady = epochs[max(1, len(epochs) // 4) :]
    if steady:
        first, last = epochs[-len(steady) - 1], epochs[-1]
        lasted_ms = max(1, last["ended_ms"] - first["ended_ms"])
        rates = [one["samples_per_s"] for one in steady]
        found |= {
            "samples_per_s": (last["samples"] - first["samples"]) * 1000 / lasted_ms,
            "slowest": min(rates),
            "fastest": max(rates),
            "kernel_percent": kernel_percent(results / f"{name}.busy", first["ended_ms"], last["ended_ms"]),
            "gpu_memory_mib": last.get("gpu_memory_mib"),
        }
    summary = next(objects(lines_of(results / f"{name}.summary")), {})
    found |= {"epochs": len(epochs), "device": summary.get("device"), "accuracy": summary.get("accuracy")}
    found["weights"] = (summary.get("weights_sha256") or "")[:12] or None
    stderr = lines_of(results / f"{name}.stderr")
    found["stderr_lines"] = len(stderr)
    if exit_code != "0":
        found["note"] = stderr[-1][:200] if stderr else "it says nothing"
    keep(results, found)


def ask(results, seconds, *command):
    """Runs a job and sends /predict one digit after the other."""
    results = pathlib.Path(results)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    began, times = time.monotonic(), []
    with open(results / "predict.stderr", "w") as told:
        job = subprocess.Popen([*command, "--listen", address], stdout=subprocess.DEVNULL, stderr=told)
    body, kind = json.dumps([[0] * 64]).encode(), {"Content-Type": "application/json"}
    end = began + STARTING
    while time.monotonic() < end and job.poll() is None:
        sent = time.perf_counter()
        try:
            with urllib.request.urlopen(urllib.request.Request(f"http://{address}/predict", body, kind), timeout=5) as reply:
                reply.read()
        except OSError:
            time.sleep(0.1)  # it is still starting
            continue
        if not times:
            end = time.monotonic() + float(seconds)
        times.append((time.perf_counter() - sent) * 1000)
    job.terminate()
    try:
        code = job.wait(STOPPING)
    except subprocess.TimeoutExpired:
        job.kill()
        code = "does not stop"
    times.sort()
    note = "no answer"
    if times:
        middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
        note = f"{len(times)} answers, p50 {middle:.1f} ms, p99 {late:.1f} ms"
    keep(results, {"name": "predict", "exit_code": code, "seconds": time.monotonic() - began, "note": note})
    sys.exit(0 if times and code == 0 else 1)


def skip(results, name, reason):
    keep(pathlib.Path(results), {"name": name, "exit_code": None, "note": f"skipped: {reason}"})


def shown(found, key, how):
    return "" if found.get(key) is None else how.format(found[key]).replace("|", "/")


def keep(results, found):
    """Appends figures at once: what a call has found is not lost when it is cut short."""
    with open(results / "results.jsonl", "a") as file:
        file.write(json.dumps(found) + "\n")
    told = [f"{head} {shown(found, key, how)}" for head, key, how in FIGURES[1:] if found.get(key) is not None]
    print(f"{found['name']}: {', '.join(told)}", flush=True)


def table(results):
    results = pathlib.Path(results)
    lines = ["| " + " | ".join(head for head, _, _ in FIGURES) + " |", "|" + " --- |" * len(FIGURES)]
    for found in objects(lines_of(results / "results.jsonl")):
        lines.append("| " + " | ".join(shown(found, key, how) for _, key, how in FIGURES) + " |")
    pytorch = [f"    {line}" for line in lines_of(results / "pytorch.rows")]
    text = "\n".join(["# GPU check", "", *lines, "", "PyTorch beside it:", "", *pytorch, ""])
    (results / "summary.md").write_text(text)
    print(text)


if __name__ == "__main__":
    verbs = {verb.__name__: verb for verb in (libraries, noise, row, skip, ask, table)}
    verbs[sys.argv[1]](*sys.argv[2:])
