"""What several workers gain on one machine, and what busy neighbours cost: ratios of rates within one run.

    python3 benches/scale.py [--rounds 5] [--seconds 6] [--jobs net28-64-448,net28-16-112,digits] [--neighbours] [--processes] \\
        [--binary target/release/sluicebox]

A: 1 worker of 1 thread. B: 1 worker with a thread on each core. C: a worker on each core, of 1 thread. With --processes also D: as C,
but each worker is a process, over loopback. Each round runs them in the order A B C C B A (A B C D D C B A); a rate is that of
the job's epoch rows without the first. Printed are the medians of the rounds' ratios with their quartiles, as JSON lines. `idle` is false where something else took more than 5 % of the cores meanwhile: such figures are
not to be judged. With --neighbours B and C also run beside 1 and 8 processes that only count.

Images are noise, made here; every sample passes the filter (`method.threshold = 0`), in f32.
"""

import argparse
import json
import os
import pathlib
import random
import socket
import statistics
import struct
import subprocess
import tempfile
import time

CORES = len(os.sched_getaffinity(0))
LAYOUTS = {"A": (1, 1), "B": (1, CORES), "C": (CORES, 1), "D": (CORES, 1)}  # workers, threads per worker
PROCESSES = {"D": CORES}
COUNT = "while True: pass"


def noise(folder, images=4000):
    for part, count in (("train", images), ("t10k", 500)):
        pixels = random.Random(0).randbytes(28 * 28 * count)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + pixels)
        classes = bytes(number % 10 for number in range(count))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + classes)


def jobs(folder):
    net28 = ["pipelines/fashion.toml", f"source.path={folder}", "method.threshold=0"]
    return {
        "net28-64-448": net28 + ["batch.labelled=64", "batch.unlabelled=448", "epoch.steps=2"],
        "net28-16-112": net28 + ["epoch.steps=8"],
        "digits": ["pipelines/digits.toml", "method.threshold=0", "epoch.steps=50"],
        "wide28-64-448": net28 + [
            "model={kind='wide-resnet'}", "batch.labelled=64", "batch.unlabelled=448", "epoch.steps=1",
        ],
    }


def cpu_seconds():
    """Busy seconds of all cores since the start of the machine."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def rate(binary, job, layout, seconds):
    """Returns samples per second, and the seconds that others had of the cores meanwhile as a fraction."""
    workers, threads = LAYOUTS[layout]
    file, *sets = job
    sets = sets + [
        f"workers={workers}", f"threads={threads}", "device=cpu", "precision=f32", "report.evaluate_epochs=0",
        "stop.epochs=1000000",
    ]
    command = [binary, "run", file, "--log", "json"] + [part for one in sets for part in ("--set", one)]
    joining = []
    if layout in PROCESSES:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
        command += ["--processes", str(PROCESSES[layout]), "--join-at", address]
        joining = [[binary, "join", address]] * (PROCESSES[layout] - 1)
    before, began = cpu_seconds(), time.monotonic()
    with tempfile.TemporaryFile("w+") as rows:
        child = subprocess.Popen(command, stdout=rows, stderr=subprocess.DEVNULL)
        others = [subprocess.Popen(one, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for one in joining]
        time.sleep(seconds)
        child.terminate()
        used = 0.0
        for process in [child] + others:
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            used += usage.ru_utime + usage.ru_stime
        took = time.monotonic() - began
        rows.seek(0)
        found = [json.loads(row) for row in rows if row.startswith("{") and '"ended_ms"' in row]
    if len(found) < 3:
        raise SystemExit(f"{layout} of {job}: {len(found)} epochs in {seconds} s are too few")
    first, last = found[0], found[-1]
    of_others = cpu_seconds() - before - used
    per_second = (last["samples"] - first["samples"]) * 1000 / (last["ended_ms"] - first["ended_ms"])
    return per_second, of_others / (took * CORES)


def quartiles(values):
    if len(values) < 2:
        return [values[0]] * 2
    first, _, third = statistics.quantiles(values, n=4)
    return [round(first, 3), round(third, 3)]


def compared(name, pairs, others):
    """Prints the median of ratios."""
    ratios = [one / other for one, other in pairs]
    row = {"ratio": name, "median": round(statistics.median(ratios), 3), "quartiles": quartiles(ratios)}
    row |= {"rounds": len(ratios), "samples_per_s": round(statistics.median(one for one, _ in pairs))}
    row |= {"idle": max(others) < 0.05, "others": round(max(others), 3)}
    print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--jobs", default="net28-64-448,net28-16-112,digits")
    parser.add_argument("--neighbours", action="store_true")
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--binary", default="target/release/sluicebox")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        noise(pathlib.Path(folder))
        all_jobs = jobs(folder)
        for job in options.jobs.split(","):
            rounds, others = [], []
            for _ in range(options.rounds):
                layouts = "ABCD" if options.processes else "ABC"
                rates = {layout: [] for layout in layouts}
                for layout in layouts + layouts[::-1]:
                    found, of_others = rate(options.binary, all_jobs[job], layout, options.seconds)
                    rates[layout].append(found)
                    others.append(of_others)
                rounds.append({layout: statistics.mean(found) for layout, found in rates.items()})
            compared(f"{job}: C/A", [(found["C"], found["A"]) for found in rounds], others)
            compared(f"{job}: C/B", [(found["C"], found["B"]) for found in rounds], others)
            for other in "AC" if options.processes else "":
                compared(f"{job}: D/{other}", [(found["D"], found[other]) for found in rounds], others)
            for neighbours in (1, 8) if options.neighbours else ():
                beside = {layout: [] for layout in "BC"}
                counting = [subprocess.Popen(["python3", "-c", COUNT]) for _ in range(neighbours)]
                try:
                    for layout in ("BCCB" * options.rounds)[: 2 * options.rounds]:
                        beside[layout].append(rate(options.binary, all_jobs[job], layout, options.seconds)[0])
                finally:
                    for process in counting:
                        process.kill()
                        process.wait()
                for layout, found in beside.items():
                    quiet = statistics.median(found[layout] for found in rounds)
                    name = f"{job}: {layout} beside {neighbours} busy / quiet"
                    compared(name, [(rate, quiet) for rate in found], others)


if __name__ == "__main__":
    main()
