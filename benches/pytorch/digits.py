"""A plain PyTorch FixMatch loop on the digits job, to compare with.

    python benches/pytorch/digits.py [--seed 0] [--supervised]

Same net, labels, batches and augmentations as pipelines/digits.toml; reads the digits from
crates/sluicebox-stream/src/source/digits.bin. Prints one JSON line.
"""

import argparse
import json
import pathlib
import sys
import time

import torch
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

sys.path.append(str(pathlib.Path(__file__).parents[2] / "python"))
from sluicebox.networks import ConvNet  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=800)
parser.add_argument("--supervised", action="store_true")
args = parser.parse_args()
torch.manual_seed(args.seed)
torch.set_num_threads(2)

path = pathlib.Path(__file__).parent.parent.parent / "crates/sluicebox-stream/src/source/digits.bin"
raw = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8).view(-1, 65)[torch.randperm(1797)]
images, labels = raw[:, :64].view(-1, 1, 8, 8) / 16, raw[:, 64].long()
test_x, test_y, images, labels = images[1400:], labels[1400:], images[:1400], labels[:1400]
chosen = torch.cat([(labels == c).nonzero()[:4, 0] for c in range(10)])
x_lab, y_lab = images[chosen], labels[chosen]
rest = torch.ones(1400, dtype=torch.bool).index_fill(0, chosen, False)
stream = images[rest]


def around(n, most):
    return (torch.rand(n) * 2 - 1) * most


def affine(x, degrees, scale, shear, shift):
    n = len(x)
    turn, size, k = around(n, degrees).deg2rad(), 1 + around(n, scale), around(n, shear)
    rows = [turn.cos() / size, (turn.cos() * k - turn.sin()) / size, around(n, 2 * shift)]
    rows += [turn.sin() / size, (turn.sin() * k + turn.cos()) / size, around(n, 2 * shift)]
    grid = affine_grid(torch.stack(rows, 1).view(n, 2, 3), list(x.shape), align_corners=False)
    return grid_sample(x, grid, align_corners=False)


def weak(x):
    return affine(x, 5, 0.05, 0, 0.05)


def strong(x):
    x, n = affine(x, 20, 0.2, 0.2, 0.15), len(x)
    x = x * (1 + around(n, 0.4)).view(-1, 1, 1, 1)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (mean + (x - mean) * (1 + around(n, 0.4)).view(-1, 1, 1, 1)).clamp(0, 1)
    x = (x + torch.randn_like(x) * torch.rand(n, 1, 1, 1) * 0.15).clamp(0, 1)
    side, pixel = 2, torch.arange(8)
    top, left = torch.randint(8, (n, 1)) - side // 2, torch.randint(8, (n, 1)) - side // 2
    rows, columns = (pixel >= top) & (pixel < top + side), (pixel >= left) & (pixel < left + side)
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


student, teacher = ConvNet((1, 8, 8), 10), ConvNet((1, 8, 8), 10)
teacher.load_state_dict(student.state_dict())
decayed = [p for p in student.parameters() if p.dim() > 1]
others = [p for p in student.parameters() if p.dim() <= 1]
groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0}]
optimiser = torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True)
start = time.time()
for step in range(args.steps):
    pick = torch.randperm(40)[:32]
    x, y = weak(x_lab[pick]), y_lab[pick]
    if args.supervised:
        loss = cross_entropy(student(x), y)
    else:
        u = stream[torch.randint(len(stream), (128,))]
        with torch.no_grad():
            confidence, pseudo = teacher.eval()(weak(u)).softmax(1).max(1)
        logits = student(torch.cat([x, strong(u)]))
        unlabelled = cross_entropy(logits[32:], pseudo, reduction="none")
        loss = cross_entropy(logits[:32], y) + ((confidence >= 0.95) * unlabelled).mean()
    for group in optimiser.param_groups:
        group["lr"] = 0.05 * min(1, (step + 1) / 20)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        stays = min(0.99, 1 - 1 / (step + 1))
        for slow, fast in zip(teacher.parameters(), student.parameters()):
            slow.lerp_(fast, 1 - stays)
        for slow, fast in zip(teacher.buffers(), student.buffers()):
            slow.copy_(fast)
seconds = time.time() - start
with torch.no_grad():
    accuracy = (teacher.eval()(test_x).argmax(1) == test_y).float().mean().item()
print(json.dumps({"accuracy": accuracy, "seconds": seconds, **vars(args)}))
