"""What several workers gain on one machine, and what busy neighbours cost: ratios of rates within one run.

    python3 benches/scale.py [--rounds 5] [--seconds 6] [--jobs net28-64-448,net28-16-112,digits] [--neighbours] [--processes] \\
        [--relay] [--binary target/release/sluicebox]

A: 1 worker of 1 thread. B: 1 worker with a thread on each core. C: a worker on each core, of 1 thread. With --processes also D: as C,
but each worker is a process, over loopback. Each round runs them in the order A B C C B A (A B C D D C B A); a rate is that of
the job's epoch rows without the first. Printed are the medians of the rounds' ratios with their quartiles, as JSON lines. `idle`
is false where something else took more than 5 % of the cores meanwhile: such figures are not to be judged. With --neighbours B
and C also run beside 1 and 8 processes that only count.

With --relay nothing of this, but A, and two processes of one worker with a relay between them that has the rate and the delay of a
link (LINKS): milliseconds per step, measured and by the formula of docs/scale.md from the step of A and the number of parameters,
and the bytes per step and direction that the relay has carried, the student's at the start among them. Before that the relay's own greatest rate, without a limit. The
cores of this machine are shared by both processes and the relay, which a real link would not take.

Images are noise, made here; every sample passes the filter (`method.threshold = 0`), in f32.
"""

import argparse
import json
import os
import pathlib
import queue
import random
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time

CORES = len(os.sched_getaffinity(0))
# Workers, threads per worker.
LAYOUTS = {"A": (1, 1), "B": (1, CORES), "C": (CORES, 1), "D": (CORES, 1), "two processes": (2, 1)}
PROCESSES = {"D": CORES, "two processes": 2}
COUNT = "while True: pass"
LINKS = {  # bytes per second in each direction, seconds one way
    "10 Gbit/s": (1.1e9, 100e-6),
    "1 Gbit/s": (110e6, 100e-6),
}
RELAYED = {  # numbers that a gradient has, with those of batch norm; labelled and unlabelled samples per step; the job
    "convnet": (94_000, 16, 112, []),
    "WRN-28-2": (1_467_322, 4, 28, ["model={kind='wide-resnet'}"]),
    "MLP": (11_093_258, 16, 112, ["model={kind='mlp', hidden=[3072, 2816]}"]),
}
CHUNK = 256 << 10


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


class Relay:
    """Stands for a link to the machine at `head`: what goes through arrives `delay` seconds later, and not faster than `rate` bytes
    per second in each direction, whatever the number of connections. Ends with the process."""

    def __init__(self, head, rate, delay):
        self.head, self.rate, self.delay = head, rate, delay
        self.free = {"down": 0.0, "up": 0.0}  # time from which on a direction is free
        self.carried = {"down": 0, "up": 0}
        self.lock = threading.Lock()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                joins, _ = self.server.accept()
            except OSError:
                return  # closed
            try:
                head = socket.create_connection(self.head)
            except OSError:
                joins.close()  # it is not there yet, and the other side tries again
                continue
            for one in (joins, head):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target, direction in ((head, joins, "down"), (joins, head, "up")):
                on_the_way = queue.Queue(maxsize=16)  # as a socket's buffer, and a switch's
                threading.Thread(target=self.take, args=(source, direction, on_the_way), daemon=True).start()
                threading.Thread(target=self.give, args=(target, on_the_way), daemon=True).start()

    def take(self, source, direction, on_the_way):
        while True:
            try:
                data = source.recv(CHUNK)
            except OSError:
                data = b""
            with self.lock:
                self.carried[direction] += len(data)
                sent = max(self.free[direction], time.monotonic()) + len(data) / self.rate
                self.free[direction] = sent
            on_the_way.put((sent + self.delay, data))
            if not data:
                return

    def give(self, target, on_the_way):
        while True:
            due, data = on_the_way.get()
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            try:
                target.sendall(data) if data else target.shutdown(socket.SHUT_WR)
            except OSError:
                data = b""  # the other side has gone
            if not data:
                return


def greatest_rate(total=256 << 20):
    """Returns how many bytes per second a relay carries that has no limit, in one direction."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(server.getsockname(), 1e12, 0)
        host, port = relay.address.split(":")
        sender = socket.create_connection((host, int(port)))
        receiver, _ = server.accept()
        threading.Thread(target=sender.sendall, args=(bytes(total),), daemon=True).start()
        began, left = time.monotonic(), total
        while left:
            left -= len(receiver.recv(1 << 20))
        return total / (time.monotonic() - began)


def cpu_seconds():
    """Busy seconds of all cores since the start of the machine."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def rate(binary, job, layout, seconds, link=None):
    """Returns samples per second, the seconds that others had of the cores meanwhile as a fraction, and the bytes that the relay of
    a `link` (its rate and delay) has carried per sample, down and up. Others include the relay."""
    workers, threads = LAYOUTS[layout]
    file, *sets = job
    sets = sets + [
        f"workers={workers}", f"threads={threads}", "device=cpu", "precision=f32", "report.evaluate_epochs=0",
        "stop.epochs=1000000",
    ]
    command = [binary, "run", file, "--log", "json"] + [part for one in sets for part in ("--set", one)]
    joining, relay = [], None
    if layout in PROCESSES:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
        command += ["--processes", str(PROCESSES[layout]), "--join-at", address]
        if link:
            host, port = address.split(":")
            relay = Relay((host, int(port)), *link)
            address = relay.address
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
    carried = [relay.carried[direction] / last["samples"] for direction in ("down", "up")] if relay else []
    return per_second, of_others / (took * CORES), carried


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


def through_relay(options, folder):
    """Prints the milliseconds per step over links, measured and by the formula."""
    print(json.dumps({"relay_without_limit_mb_per_s": round(greatest_rate() / 1e6)}), flush=True)
    for name, (numbers, labelled, unlabelled, sets) in RELAYED.items():
        job = ["pipelines/fashion.toml", f"source.path={folder}", "method.threshold=0", *sets]
        job += [f"batch.labelled={labelled}", f"batch.unlabelled={unlabelled}", "epoch.steps=1"]
        two = "two processes"
        cases = {"one worker": ("A", None), "loopback": (two, None)} | {link: (two, LINKS[link]) for link in LINKS}
        steps, others, carried = {case: [] for case in cases}, {case: [] for case in cases}, {}
        for case in (list(cases) + list(cases)[::-1]) * options.rounds:
            layout, link = cases[case]
            found, of_others, bytes_per_sample = rate(options.binary, job, layout, options.seconds, link)
            steps[case].append(unlabelled / found)
            others[case].append(of_others)
            carried[case] = [round(one * unlabelled) for one in bytes_per_sample]
        alone = statistics.median(steps["one worker"])
        for case, (layout, link) in cases.items():
            measured = statistics.median(steps[case])
            row = {"network": name, "numbers": numbers, "batch": f"{labelled} + {unlabelled}", "link": case}
            row |= {"ms_per_step": round(1000 * measured, 1)}
            if link:
                formula = (0.03 + 0.97 / 2) * alone + 4 * numbers / link[0] + 1e-3
                row |= {"formula_ms": round(1000 * formula, 1), "bytes_per_step_down_up": carried[case]}
            row |= {"speed_up": round(alone / measured, 2), "others": round(max(others[case]), 3)}
            print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--jobs", default="net28-64-448,net28-16-112,digits")
    parser.add_argument("--neighbours", action="store_true")
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--relay", action="store_true")
    parser.add_argument("--binary", default="target/release/sluicebox")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        noise(pathlib.Path(folder))
        if options.relay:
            return through_relay(options, folder)
        all_jobs = jobs(folder)
        for job in options.jobs.split(","):
            rounds, others = [], []
            for _ in range(options.rounds):
                layouts = "ABCD" if options.processes else "ABC"
                rates = {layout: [] for layout in layouts}
                for layout in layouts + layouts[::-1]:
                    found, of_others, _ = rate(options.binary, all_jobs[job], layout, options.seconds)
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
