"""A plain PyTorch FixMatch loop on Fashion-MNIST, to compare with: the student judges the weak
views itself, one joint forward pass, PIL RandAugment in two loader workers.

    python benches/pytorch/fashion.py FOLDER_OF_IDX_FILES [--steps 300] [--seed 0]

16 labelled and 112 unlabelled images per step, 250 labels. Prints one JSON line;
`unlabelled_samples_per_s` is taken after 20 steps.
"""

import argparse
import gzip
import json
import pathlib
import sys
import time

import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

sys.path.append(str(pathlib.Path(__file__).parents[2] / "python"))
from sluicebox.networks import ConvNet  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--steps", type=int, default=300)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--ema", type=float, default=0.999)
args = parser.parse_args()
torch.manual_seed(args.seed)
torch.set_num_threads(2)


def idx(name, head):
    raw = gzip.decompress((args.folder / f"{name}.gz").read_bytes())
    return torch.frombuffer(bytearray(raw[head:]), dtype=torch.uint8)


images, labels = idx("train-images-idx3-ubyte", 16).view(-1, 28, 28), idx("train-labels-idx1-ubyte", 8).long()
test_x, test_y = idx("t10k-images-idx3-ubyte", 16).view(-1, 1, 28, 28) / 255, idx("t10k-labels-idx1-ubyte", 8)
order = torch.randperm(len(labels))
chosen = torch.cat([order[labels[order] == c][:25] for c in range(10)])

crop = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(28, padding=4, padding_mode="reflect")]
weak = transforms.Compose([*crop, transforms.ToTensor()])
cutout = transforms.RandomErasing(p=1, scale=(0.25, 0.25), ratio=(1, 1), value=0.5)
strong = transforms.Compose([*crop, transforms.RandAugment(2, 10), transforms.ToTensor(), cutout])


class Views(Dataset):
    def __init__(self, index, views):
        self.index, self.views = index, views

    def __len__(self):
        return len(self.index)

    def __getitem__(self, i):
        image = Image.fromarray(images[self.index[i]].numpy())
        return [view(image) for view in self.views], labels[self.index[i]]


def batches(index, views, size, workers):
    data = Views(index, views)
    sampler = RandomSampler(data, replacement=True, num_samples=size * args.steps)
    return DataLoader(data, size, sampler=sampler, num_workers=workers)


student, average = ConvNet((1, 28, 28), 10), ConvNet((1, 28, 28), 10)
average.load_state_dict(student.state_dict())
optimiser = torch.optim.SGD(student.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=5e-4)
labelled = iter(batches(chosen, [weak], 16, 0))
for step, ((w, s), _) in enumerate(batches(order, [weak, strong], 112, 2)):
    if step == 20:
        start = time.time()
    (x,), y = next(labelled)
    logits = student(torch.cat([x, w, s]))
    confidence, pseudo = logits[16:128].detach().softmax(1).max(1)
    unlabelled = cross_entropy(logits[128:], pseudo, reduction="none")
    loss = cross_entropy(logits[:16], y) + ((confidence >= 0.95) * unlabelled).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        stays = min(args.ema, 1 - 1 / (step + 1))
        for slow, fast in zip(average.parameters(), student.parameters()):
            slow.lerp_(fast, 1 - stays)
        for slow, fast in zip(average.buffers(), student.buffers()):
            slow.copy_(fast)
rate = 112 * (args.steps - 20) / (time.time() - start)
with torch.no_grad():
    accuracy = [(m.eval()(test_x).argmax(1) == test_y).float().mean().item() for m in (average, student)]
report = {"unlabelled_samples_per_s": rate, "accuracy": accuracy[0], "accuracy_student": accuracy[1]}
print(json.dumps(report | {"steps": args.steps, "seed": args.seed}))
