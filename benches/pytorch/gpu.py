"""A plain PyTorch FixMatch step on a GPU, to compare with: the networks, batches and mathematics of
Sluicebox's jobs, on noise that is made here.

    python benches/pytorch/gpu.py --net wrn28-2 --labelled 64 --unlabelled 448 --augment none --mode graph
    python benches/pytorch/gpu.py --all --seconds 8 --limit 120      (the rows of the table, until the time is up)
    python benches/pytorch/gpu.py --all --device cpu --seconds 0 --warmup 0 --labelled 2 --unlabelled 4    (tries it)

Views: `none`, the batch itself, an upper bound; `pil`, torchvision's PIL operations in loader workers;
`v2-batch`, torchvision's v2 on the device with one draw for a whole batch, which augments less; `v2-each`,
the same with a draw for every image.
Modes: `eager`; `compile`, torch.compile; `graph`, the whole step as one CUDA graph.
Prints one JSON line a run: quartiles of unlabelled samples/s over windows of a second, kernels a step and the
share of time in which the GPU computed, from 20 profiled steps.
"""

import argparse
import copy
import itertools
import json
import pathlib
import statistics
import sys
import time

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset

sys.path.append(str(pathlib.Path(__file__).parents[2] / "python"))
from sluicebox.networks import ConvNet, WideResNet  # noqa: E402

NETS = {
    "convnet8": (ConvNet, (1, 8, 8)),
    "convnet28": (ConvNet, (1, 28, 28)),
    "wrn28-2": (WideResNet, (3, 32, 32)),
}
MODES, AUGMENTS = ("eager", "compile", "graph"), ("none", "pil", "v2-batch", "v2-each")
# What `--all` runs, the most telling first: network, labelled, unlabelled, views, mode.
ROWS = [
    ("convnet28", 64, 448, "none", "eager"),
    ("wrn28-2", 64, 448, "none", "eager"),
    ("convnet28", 64, 448, "none", "graph"),
    ("wrn28-2", 64, 448, "none", "graph"),
    ("convnet28", 64, 448, "pil", "eager"),
    ("convnet28", 64, 448, "v2-batch", "eager"),
    ("convnet28", 64, 448, "v2-each", "eager"),
    ("convnet8", 32, 128, "none", "eager"),
    ("convnet28", 16, 112, "none", "eager"),
    ("convnet28", 64, 1792, "none", "eager"),
    ("wrn28-2", 64, 448, "v2-batch", "eager"),
    ("convnet28", 64, 448, "none", "compile"),
    ("wrn28-2", 64, 448, "none", "compile"),
]
POOL, PROFILED, GRAPH_WARMUP = 4096, 20, 11
LAST = torch.channels_last


class Loop:
    """Student, teacher and optimiser, and one step of FixMatch. Nothing in it waits for the device."""

    def __init__(self, net, device, precision):
        make, shape = NETS[net]
        self.student = make(shape, 10).to(device, memory_format=LAST)
        self.teacher = copy.deepcopy(self.student).eval().requires_grad_(False)
        decayed = [p for p in self.student.parameters() if p.dim() > 1]
        others = [p for p in self.student.parameters() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0}]
        self.optimiser = torch.optim.SGD(groups, lr=0.03, momentum=0.9, nesterov=True, fused=True)
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        self.slow, self.fast = list(self.teacher.parameters()), list(self.student.parameters())
        self.kept, self.new = list(self.teacher.buffers()), list(self.student.buffers())

    def step(self, x, y, weak, strong):
        with torch.no_grad(), self.autocast:
            confidence, pseudo = self.teacher(weak).float().softmax(1).max(1)
        with self.autocast:
            logits = self.student(torch.cat([x, strong])).float()
        each = cross_entropy(logits[len(x) :], pseudo, reduction="none")
        loss = cross_entropy(logits[: len(x)], y) + (each * (confidence >= 0.95)).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.slow, self.fast, 0.01)
            torch._foreach_copy_(self.kept, self.new)


def stepper(loop, mode, batch):
    """Returns the function that takes a batch and does a step."""
    if mode == "eager":
        return loop.step
    if mode == "compile":
        return torch.compile(loop.step)
    static = batch  # later batches are copied into the first
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(GRAPH_WARMUP):
            loop.step(*static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loop.step(*static)

    def step(*batch):
        for to, part in zip(static, batch):
            if part is not to:
                to.copy_(part, non_blocking=True)
        graph.replay()

    return step


class PilViews(IterableDataset):
    """Endless pairs of a weak and a strong view of one image."""

    def __init__(self, pool, weak, strong):
        self.pool, self.weak, self.strong = pool, weak, strong

    def __iter__(self):
        from PIL import Image

        pixels = [one.permute(1, 2, 0).squeeze(-1).numpy() for one in self.pool]
        for image in itertools.cycle([Image.fromarray(one) for one in pixels]):
            yield self.weak(image), self.strong(image)


def batches(args, net, labelled, unlabelled, augment):
    """Yields batches on the device: labelled images, their classes, weak and strong views."""
    shape, device = NETS[net][1], args.device
    place = {"device": device, "non_blocking": True, "memory_format": LAST}
    y = torch.arange(labelled, device=device) % 10
    if augment == "none":
        sizes = (labelled, unlabelled, unlabelled)
        x, weak, strong = (torch.rand(size, *shape, device=device).to(memory_format=LAST) for size in sizes)
        yield from itertools.repeat((x, y, weak, strong))
    from torchvision import transforms
    from torchvision.transforms import v2

    pool = torch.randint(256, (POOL, *shape), dtype=torch.uint8)
    crop = {"padding": shape[1] // 8, "padding_mode": "reflect"}
    if augment == "pil":
        moved = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(shape[1], **crop)]
        weak = transforms.Compose([*moved, transforms.ToTensor()])
        strong = transforms.Compose([*moved, transforms.RandAugment(3, 10), transforms.ToTensor()])
        loading = {"num_workers": args.workers, "pin_memory": device.type == "cuda"}
        loading |= {"prefetch_factor": 4, "persistent_workers": True} if args.workers else {}
        x = torch.rand(labelled, *shape, device=device).to(memory_format=LAST)
        for weak, strong in DataLoader(PilViews(pool, weak, strong), unlabelled, **loading):
            yield x, y, weak.to(**place), strong.to(**place)
    moved = [v2.RandomHorizontalFlip(), v2.RandomCrop(shape[1], **crop)]
    end = v2.ToDtype(torch.float32, scale=True)
    weak, strong = v2.Compose([*moved, end]), v2.Compose([*moved, v2.RandAugment(3, 10), end])
    pool = pool.pin_memory() if device.type == "cuda" else pool

    def view(transform, images):
        each = augment == "v2-each"
        viewed = torch.stack([transform(image) for image in images]) if each else transform(images)
        return viewed.to(memory_format=LAST)

    for first in itertools.cycle(range(0, POOL - labelled - unlabelled, 64)):
        images = pool[first : first + labelled + unlabelled].to(device, non_blocking=True)
        x, u = images.split([labelled, unlabelled])
        yield view(weak, x), y, view(weak, u), view(strong, u)


def kernels(step, stream, device):
    """Returns kernels a step and the share of time in which one ran."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(PROFILED):
            step(*next(stream))
        torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
    on_device = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(event.time_range.elapsed_us() for event in on_device) / 1e6
    return len(on_device) / PROFILED, busy / seconds


def measure(args, net, labelled, unlabelled, augment, mode):
    device = args.device
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    result = {"net": net, "labelled": labelled, "unlabelled": unlabelled, "augment": augment, "mode": mode}
    if mode == "graph" and device.type != "cuda":
        return result | {"skipped": "there is no CUDA graph on a CPU"}
    torch.manual_seed(0)
    loop, stream = Loop(net, device, args.precision), batches(args, net, labelled, unlabelled, augment)
    step = stepper(loop, mode, next(stream))

    def window(seconds):
        start, steps = time.perf_counter(), 0
        while steps == 0 or time.perf_counter() - start < seconds:
            step(*next(stream))
            steps += 1
            if steps % 20 == 0:
                synchronise()  # or the queue would grow for longer than the window
        synchronise()
        return steps * unlabelled / (time.perf_counter() - start)

    window(args.warmup)
    end = time.perf_counter() + args.seconds
    rates = [window(min(1, args.seconds))]
    while time.perf_counter() < end:
        rates.append(window(1))
    low, median, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else rates * 3
    result |= {"unlabelled_samples_per_s": median, "quartiles": [low, high], "steps_per_s": median / unlabelled}
    if device.type == "cuda":
        try:
            result["kernels_per_step"], result["busy"] = kernels(step, stream, device)
        except RuntimeError as error:  # the rates are worth having without it
            result["profiler"] = str(error)[:200]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="convnet28", choices=NETS)
    parser.add_argument("--labelled", type=int)
    parser.add_argument("--unlabelled", type=int)
    parser.add_argument("--augment", default="none", choices=AUGMENTS)
    parser.add_argument("--mode", default="eager", choices=MODES)
    parser.add_argument("--all", action="store_true", help="all rows of the table")
    parser.add_argument("--precision", default="bf16", choices=["bf16", "f32"])
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--seconds", type=float, default=15, help="time to measure each row")
    parser.add_argument("--warmup", type=float, default=3, help="time before that")
    parser.add_argument("--limit", type=float, default=float("inf"), help="time after which no row is begun")
    parser.add_argument("--workers", type=int, default=16, help="loader workers of `pil`")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else "cpu"
    machine = {"device": name, "torch": torch.__version__, "precision": args.precision}
    one = (args.net, args.labelled or 64, args.unlabelled or 448, args.augment, args.mode)
    rows = [(net, args.labelled or x, args.unlabelled or u, *how) for net, x, u, *how in ROWS] if args.all else [one]
    began = time.perf_counter()
    failed = 0
    for row in rows:
        if time.perf_counter() - began > args.limit:
            result = dict(zip(("net", "labelled", "unlabelled", "augment", "mode"), row), skipped="the time is up")
        else:
            try:
                result = measure(args, *row)
            except Exception as error:  # a row that fails must not take the others with it
                result = dict(zip(("net", "labelled", "unlabelled", "augment", "mode"), row), error=str(error)[:500])
                failed += 1
        print(json.dumps(result | machine), flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
